"""What a program prints becomes lines of the run's log, and the run's counters."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence

from connrunner.connectors import protocol
from connrunner.core.counts import Counts
from connrunner.core.report import Report

LINE = 8 * 1024  # bytes of a line that the log keeps
MARGIN = 4 * 1024  # bytes behind them that the mask sees as well, so that no half of a secret stays at the cut
KEPT = 10_000_000  # bytes that a program's lines may take in the log before only its last ones are kept
ENVELOPE = 100  # bytes that a record of the log takes around its text, about
COMPLAINT = 300  # characters of a reason that go into one message
LAST = 100  # lines that are kept in any case: why a program failed stands at its end


class Output:
    """Takes the bytes that a program writes to standard output ("stdout") and standard error ("stderr").

    *mask* hides the secrets in a text; nothing leaves without it. Memory stays bounded whatever the program prints.
    """

    def __init__(self, *, mask: Callable[[str], str], report: Report) -> None:
        self.counts = Counts()  # as the program reported them last
        self.last_message = ""  # that the program sent
        self.last_complaint = ""  # its last message of level error, or line on standard error
        self._mask = mask
        self._report = report
        self._unended: defaultdict[str, bytes] = defaultdict(bytes)
        self._room = KEPT
        self._left_out_lines = 0
        self._left_out_bytes = 0
        self._last: deque[tuple[str, bytes]] = deque(maxlen=LAST)
        self._warned = False

    def feed(self, stream: str, data: bytes) -> None:
        """Take the next bytes of *stream*. A line ends at a line feed and nowhere else."""
        lines = data.split(b"\n")
        # Of a line without an end only as much is kept as can be shown.
        lines[0] = self._unended[stream] + lines[0][: LINE + MARGIN + 1 - len(self._unended[stream])]
        self._unended[stream] = lines.pop()[: LINE + MARGIN + 1]
        self._take(stream, lines)

    def finish(self) -> None:
        """Take what stands behind the last line feeds, and tell what the log does not hold."""
        for stream, line in self._unended.items():
            self._take(stream, [line])
        self._unended.clear()
        lines = self._left_out_lines - len(self._last)
        if lines > 0:
            size = self._left_out_bytes - sum(len(line) for _, line in self._last)
            self._report.message(
                f"left out here: {lines} lines, {size} bytes; the log holds the first {KEPT // 1_000_000} MB of what a "
                f"program prints, and its last {LAST} lines",
                level="warning",
            )
        for stream, line in self._last:
            self._tell(stream, line)
        self._last.clear()

    def _take(self, stream: str, lines: Sequence[bytes]) -> None:
        for index, line in enumerate(lines):
            if self._room <= 0:
                self._pass_over(stream, lines[index:])
                return
            if line:
                self._room -= min(len(line), LINE) + ENVELOPE
                self._tell(stream, line)

    def _pass_over(self, stream: str, lines: Sequence[bytes]) -> None:
        """Take lines that the log has no room for. A program may print gigabytes: this stays far below 1 us a line."""
        lines = [line for line in lines if line]
        self._left_out_lines += len(lines)
        self._left_out_bytes += sum(map(len, lines))
        self._last.extend((stream, line[: LINE + MARGIN + 1]) for line in lines[-LAST:])
        for line in lines:
            if line.startswith(b"{"):
                self._said(stream, line)

    def _tell(self, stream: str, line: bytes) -> None:
        said = self._said(stream, line)
        if said is None:
            text = self._text(line)
            self._report.message(text, stream=stream)
            if stream == "stderr":
                self.last_complaint = text
        elif said.message is not None:
            text = self._mask(_storable(said.message))
            self._report.message(text, level=said.level, stream=stream)
            self.last_message = text
            if said.level == "error":
                self.last_complaint = text

    def _said(self, stream: str, line: bytes) -> protocol.Said | None:
        """Return what *line* says to connrunner, its counters noted, or None for an ordinary line."""
        if stream != "stdout" or not line.startswith(b"{") or len(line) > LINE:
            return None
        try:
            said = protocol.parse(line.decode("utf-8", "backslashreplace"))
        except protocol.ProtocolError as error:
            if not self._warned:
                self._warned = True
                reason = self._mask(_storable(str(error)))[:COMPLAINT]
                self._report.message(f"a line is logged but not understood: {reason}", level="warning")
            return None
        if said is not None and said.counts is not None:
            self.counts = said.counts
        return said

    def _text(self, line: bytes) -> str:
        text = self._mask(line[: LINE + MARGIN].decode("utf-8", "backslashreplace").removesuffix("\r"))
        if len(line) <= LINE:
            return text
        if len(line) > LINE + MARGIN:
            text = text[:-MARGIN]  # the first half of a secret may stand there
        return f"{text[:LINE]} [cut: the line is longer than {LINE} bytes]"


def _storable(text: str) -> str:
    """JSON can spell half a character; no file can hold one."""
    return text.encode("utf-8", "backslashreplace").decode()
