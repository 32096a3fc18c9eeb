"""What connrunner remembers: everything under the state folder."""
