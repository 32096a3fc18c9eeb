"""
Mail to a server by SMTP, always over verified TLS.

    smtp://HOST[:587]         STARTTLS, required
    smtps://HOST[:465]        TLS from the first byte
    smtp+plain://HOST[:25]    clear text, to this machine only

The authorities are the system's; `SSL_CERT_FILE` names others. A recipient is `refused` only by a 5xx answer that is
about the recipient or the mail itself: whatever else goes wrong is about the server or the settings, and can be
repaired.
"""

from __future__ import annotations

import smtplib
import ssl
import time
from contextlib import suppress

from connrunner.core.alerts.notice import Notice
from connrunner.errors import ConnrunnerError
from connrunner.notify import smtp_login
from connrunner.notify.sanitize import clean_line
from connrunner.notify.smtp_connection import (
    PATIENCE,
    PORTS,
    CertificateError,
    ClientCertificate,
    MailServer,
    SmtpConnection,
    find_tls_error,
)
from connrunner.notify.smtp_login import Login, LoginKind
from connrunner.notify.smtp_replies import Step, judge_refusal
from connrunner.notify.transport import DeliveryResult


class UnusableError(ConnrunnerError):
    """The server cannot be used, for whatever recipient."""


class SmtpSession:
    """One delivery pass to one server, over as few connections as possible, until *deadline* (monotonic)."""

    def __init__(
        self,
        server: MailServer,
        *,
        username: str | None,
        password: str | None,
        kind: LoginKind = "password",
        hello: str = "localhost",
        certificate: ClientCertificate | None = None,
        deadline: float,
    ) -> None:
        self._server = server
        self._deadline = deadline
        self._username = username
        self._login = Login(username=username, secret=password, kind=kind) if username and password else None
        self._hello = hello
        self._certificate = certificate
        self._line: SmtpConnection | None = None
        self._unusable = ""  # why there is no point in connecting once more in this pass

    def send(self, notice: Notice, recipient: str, source: str, data: bytes) -> DeliveryResult:  # noqa: ARG002 - a Transport
        if self._unusable:
            return DeliveryResult(result="deferred", reason=self._unusable)
        try:
            line = self._ready()
        except UnusableError as error:
            self._unusable = str(error)
            return DeliveryResult(result="deferred", reason=self._unusable)
        try:
            return self._hand_over(line, recipient, source, data)
        except (OSError, smtplib.SMTPException) as error:
            self._drop()
            return DeliveryResult(
                result="deferred", reason=f"{self._server} broke off: {self._said(error)}; it is tried again"
            )

    def reach(self) -> None:
        """Go as far as a mail would without one: connected, verified, logged in; UnusableError says why not."""
        self._ready()

    def close(self) -> None:
        if self._line is not None:
            with suppress(OSError, smtplib.SMTPException):
                self._patience(self._line)
                self._line.quit()
        self._drop()

    def _hand_over(self, line: SmtpConnection, recipient: str, source: str, data: bytes) -> DeliveryResult:
        options = [f"size={len(data)}"] if line.has_extn("size") else []
        if not (source + recipient).isascii():
            if not line.has_extn("smtputf8"):
                what = f"{recipient if source.isascii() else source} has letters that it takes in no address"
                return DeliveryResult(result="refused", reason=f"{self._server} has no SMTPUTF8: {what}")
            options += ["SMTPUTF8", "BODY=8BITMIME"]
        self._patience(line)
        code, said = line.mail(source, options)
        if code != 250:
            return self._refusal("sender", f"does not take mail from {source}", code, said)
        self._patience(line)
        code, said = line.rcpt(recipient)
        if code not in (250, 251):
            return self._refusal("recipient", f"does not take mail to {recipient}", code, said)
        # The answer to the mail itself may take long, and giving up on it too early means a second copy.
        line.wait(max(0.1, self._deadline - time.monotonic()))
        try:
            code, said = line.data(data)
        except smtplib.SMTPDataError as error:
            code, said = error.smtp_code, _bytes(error.smtp_error)
        if code != 250:
            return self._refusal("mail", "does not take the mail", code, said)
        return DeliveryResult(result="sent")

    def _refusal(self, step: Step, what: str, code: int, said: bytes) -> DeliveryResult:
        found = judge_refusal(step, code, said.decode("utf-8", "replace"), logged_in=self._login is not None)
        advice = f"; {found.hint}" if found.hint else ""
        return DeliveryResult(result=found.result, reason=f"{self._server} {what}: {self._said((code, said))}{advice}")

    def _ready(self) -> SmtpConnection:
        """Return a connection that waits for a mail."""
        if self._line is not None:
            # A server may have had enough of the connection after some mails; that says nothing about the next one.
            with suppress(OSError, smtplib.SMTPException):
                self._patience(self._line)
                if self._line.rset()[0] == 250:
                    return self._line
            self._drop()
        self._line = self._open()
        return self._line

    def _open(self) -> SmtpConnection:
        try:
            line = SmtpConnection(self._server, self._deadline, hello=self._hello, certificate=self._certificate)
        except CertificateError as error:
            raise UnusableError(error.message, hint=error.hint) from None
        except (OSError, smtplib.SMTPException) as error:
            if (tls := find_tls_error(error)) is not None:
                raise self._no_tls(tls) from None
            what = f"{self._server} cannot be reached: {self._said(error)}"
            raise UnusableError(what, hint=self._hint_of_silence(error)) from None
        try:
            self._greet(line)
        except BaseException:
            line.cut()
            raise
        return line

    def _greet(self, line: SmtpConnection) -> None:
        """From the greeting to the point where mail can be sent."""
        try:
            self._patience(line)
            line.ehlo_or_helo_if_needed()
            if self._server.scheme == "smtp":
                self._patience(line)
                line.starttls(context=line.make_tls_context())
                self._patience(line)
                line.ehlo_or_helo_if_needed()
        except CertificateError as error:
            raise UnusableError(error.message, hint=error.hint) from None
        except smtplib.SMTPNotSupportedError:
            raise UnusableError(
                f"{self._server} offers no STARTTLS, so nothing was sent",
                hint="smtps:// is for servers that start with TLS",
            ) from None
        except (OSError, smtplib.SMTPException) as error:
            if (tls := find_tls_error(error)) is not None:
                raise self._no_tls(tls) from None
            what = f"{self._server} broke off before the first mail: {self._said(error)}"
            raise UnusableError(what, hint=self._hint_at_greeting(error)) from None
        if self._username is not None:
            self._log_in(line)

    def _log_in(self, line: SmtpConnection) -> None:
        if self._login is None:
            raise UnusableError("mail.username is set and mail.password is not", hint="set both or none")
        try:
            self._patience(line)
            smtp_login.authenticate(line, self._login)
        except smtp_login.LoginError as error:
            raise UnusableError(f"{self._server} {error.message}", hint=error.hint) from None
        except smtplib.SMTPAuthenticationError as error:
            hint = "check mail.username and mail.password"
            raise UnusableError(f"{self._server} refused the login: {self._said(error)}", hint=hint) from None
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise UnusableError(f"{self._server} broke off at the login: {self._said(error)}") from None

    def _hint_of_silence(self, error: Exception) -> str:
        """Return the advice for a server that did not greet."""
        silent = isinstance(error, smtplib.SMTPServerDisconnected) and "timed out" in str(error)
        if self._server.scheme == "smtp" and (self._server.port == PORTS["smtps"] or silent):
            return f"a server that starts with TLS is written smtps://{self._server}"
        return "is mail.server right?"

    def _hint_at_greeting(self, error: Exception) -> str:
        if isinstance(error, smtplib.SMTPResponseException):
            return judge_refusal("sender", error.smtp_code, _bytes(error.smtp_error).decode("utf-8", "replace")).hint
        return ""

    def _no_tls(self, error: ssl.SSLError) -> UnusableError:
        """Return what to say of TLS that does not come about."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._untrusted(error)
        reason = (error.reason or str(error)).upper().replace(" ", "_")
        if "ALERT" not in reason and self._server.scheme == "smtps":
            what = f"{self._server} does not speak TLS from the first byte ({error.reason})"
            return UnusableError(what, hint="smtp:// is for servers with STARTTLS")
        words = reason.rpartition("ALERT_")[2].lower().replace("_", " ")
        if self._certificate is not None and ("CERT" in reason or "UNKNOWN_CA" in reason):
            what = f"{self._server} does not take the certificate of mail.certificate ({words})"
            return UnusableError(what, hint="ask who runs the server which one it trusts")
        if self._certificate is None and ("CERTIFICATE" in reason or "HANDSHAKE_FAILURE" in reason):
            what = (
                f"{self._server} asks for a certificate of ours"
                if "CERTIFICATE" in reason
                else (
                    f"{self._server} breaks off the TLS handshake ({words}), perhaps for want of a certificate of ours"
                )
            )
            return UnusableError(what, hint="set mail.certificate, and mail.key when its key is in another file")
        return UnusableError(f"{self._server} breaks off TLS ({words})", hint="does it know TLS 1.2 or 1.3?")

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> UnusableError:
        return UnusableError(
            f"{self._server} shows a certificate that cannot be trusted ({error.verify_message.rstrip('.')}), "
            "so nothing was sent",
            hint="repair the certificate, or name its authority in SSL_CERT_FILE",
        )

    def _patience(self, line: SmtpConnection) -> None:
        line.wait(max(0.1, min(PATIENCE, self._deadline - time.monotonic())))

    def _drop(self) -> None:
        if self._line is not None:
            self._line.cut()
            self._line = None

    def _said(self, what: Exception | tuple[int, bytes]) -> str:
        """The words of a server or of the system, without the secrets that a server may repeat."""
        if isinstance(what, smtplib.SMTPResponseException):
            what = (what.smtp_code, _bytes(what.smtp_error))
        if isinstance(what, tuple):
            text = f"{what[0]} {what[1].decode('utf-8', 'replace')}"
        elif isinstance(what, TimeoutError) or "timed out" in str(what) or time.monotonic() >= self._deadline:
            text = "no answer in time"
        else:
            text = (what.strerror if isinstance(what, OSError) else None) or str(what) or type(what).__name__
        text = clean_line(text, len(text))
        for secret in self._secrets():
            text = text.replace(secret, "***")
        return clean_line(text, 300)

    def _secrets(self) -> list[str]:
        return self._login.spellings() if self._login else []


def _bytes(said: bytes | str) -> bytes:
    return said if isinstance(said, bytes) else said.encode()
