"""How people are told: mail, rendered from templates, sent by SMTP or put into a folder."""
