"""What a program prints becomes lines of the run's log, and the run's counters."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from itertools import islice

from connrunner.core.counts import Counts
from connrunner.core.report import Report
from connrunner.processes import protocol
from connrunner.text.words import plural

LINE = 8 * 1024  # bytes of a line that the log keeps
MARGIN = 256 * 1024  # bytes behind them that the mask sees as well: more than any form of a usual secret has
WIDEST = 10  # bytes that a byte of a secret takes in most spellings; longer secrets widen the margin
HEAD = 10_000_000  # bytes that a program's first lines may take in the log
TAIL = 10_000_000  # bytes that its last lines may take besides
ENVELOPE = 100  # bytes that a record of the log takes around its text, about
EMPTY_LINE = 10  # bytes that an empty line counts as: it leaves nothing in the log, but millions of them take long
REASON_LENGTH = 300  # characters of a reason that go into one message
MESSAGES_READ = 100  # messages looked at, from the end, in what is left out


class Output:
    """Takes the bytes that a program writes to standard output ("stdout") and standard error ("stderr").

    *mask* hides the secrets in a text, of which none has more than *longest_secret* bytes; nothing leaves without it.
    *counted* is told the counters each time that it reports some. Memory stays bounded whatever the program prints, and
    it is taken at the speed of a pipe once the log has its first lines.
    """

    def __init__(
        self,
        *,
        mask: Callable[[str], str],
        report: Report,
        counted: Callable[[Counts], None] | None = None,
        longest_secret: int = 0,
    ) -> None:
        self.counts = Counts()  # as the program reported them last
        self.last_message = ""  # that the program sent
        self.last_complaint = ""  # its last message of level error, or line on standard error
        self._mask = mask
        self._margin = max(MARGIN, WIDEST * longest_secret)
        self.report = report
        self._counted = counted
        self._unended: defaultdict[str, bytearray] = defaultdict(bytearray)
        self._broken_off: list[tuple[str, bytes]] = []  # what came with a line that an exception left at
        self._room = HEAD
        self._later: deque[tuple[str, bytes]] = deque()  # what came last, once there is no room
        self._later_bytes = 0
        self._gone: dict[str, bytes] = {}  # the end of what of each stream is gone from there
        self._over_lines = 0
        self._over_bytes = 0
        self._warned = False

    def feed(self, stream: str, data: bytes) -> None:
        """Take the next bytes of *stream*. A line ends at a line feed and nowhere else."""
        self._resume()
        if self._room <= 0:
            self._feed_later(stream, data)
            return
        first, *others = data.split(b"\n")
        self._add(self._unended[stream], first)
        for index, later in enumerate(others):
            line = bytes(self._unended[stream])
            self._unended[stream].clear()
            try:
                self._take(stream, line)
            except BaseException:  # a signal's handler raised: what came with that line is taken later
                self._broken_off.append((stream, b"\n".join(others[index:])))
                raise
            if self._room <= 0:
                # The other stream's line has begun, and takes its place before what comes now.
                for name, begun in self._unended.items():
                    self._keep(name, bytes(begun))
                self._feed_later(stream, b"\n".join(others[index:]))
                return
            self._add(self._unended[stream], later)

    def finish(self) -> None:
        """Take what stands behind the last line feeds, and tell what the log does not hold."""
        self._resume()
        for stream, begun in self._unended.items():
            if self._room > 0:
                self._take(stream, bytes(begun))
            elif begun:
                self._over_lines += 1
                self._over_bytes += 1  # as if it had ended
        self._unended.clear()
        last_lines = self._last_lines()
        lines = self._over_lines - len(last_lines)
        if lines > 0:
            size = self._over_bytes - sum(len(line) + 1 for _, line in last_lines)
            what = f"{plural(lines, 'line')}, {plural(max(size, 0), 'byte')}"
            self.report.message(
                f"left out here: {what}; the log holds the first {HEAD // 1_000_000} MB "
                f"and the last {TAIL // 1_000_000} MB of what a program prints",
                level="warning",
            )
        for stream, line in last_lines:
            if line:
                self._tell(stream, line)
        self._later.clear()

    def _resume(self) -> None:
        while self._broken_off:
            self.feed(*self._broken_off.pop(0))

    def _take(self, stream: str, line: bytes) -> None:
        if line:
            self._room -= min(len(line), LINE) + ENVELOPE
            self._tell(stream, line)
        else:
            self._room -= EMPTY_LINE

    # --- what the log has no room for --------------------------------------------------------------------------

    def _feed_later(self, stream: str, data: bytes) -> None:
        """Keep the last of it, count the rest, hear what the program says in it; nothing is done line by line."""
        self._over_bytes += len(data)
        unended = self._unended[stream]
        end = data.find(b"\n")
        if end < 0:
            if len(unended) <= LINE + self._margin:  # of a line without an end only as much as can be shown
                self._keep(stream, data)
            self._add(unended, data)
            return
        self._keep(stream, data)
        self._over_lines += data.count(b"\n")
        self._add(unended, data[:end])
        last = data.rfind(b"\n")
        if stream == "stdout":
            self._hear(b"\n" + bytes(unended))  # the line that has just ended
            self._hear(data[end:last])
        unended.clear()
        self._add(unended, data[last + 1 :])

    def _hear(self, lines: bytes) -> None:
        """Note the last counters and the last message that whole *lines* hold; each begins behind a line feed."""
        before = self.counts
        for line in _lines_with(b'"counts"', lines):
            if self._said("stdout", line) is not None and self.counts is not before:
                break
        counts = self.counts
        said = [self._said("stdout", line) for line in islice(_lines_with(b'"message"', lines), MESSAGES_READ)]
        self.counts = counts
        if said and self._counted is not None:
            self._counted(counts)
        for one in reversed(said):
            if one is not None and one.message is not None:
                self._note(one)

    def _keep(self, stream: str, data: bytes) -> None:
        if data:
            self._later.append((stream, data))
            self._later_bytes += len(data)
        while self._later and self._later_bytes - len(self._later[0][1]) >= TAIL:
            name, oldest = self._later.popleft()
            self._later_bytes -= len(oldest)
            self._gone[name] = oldest[-1:]

    def _last_lines(self) -> list[tuple[str, bytes]]:
        """Return the last lines for which there is room, empty ones among them."""
        room, first = TAIL, len(self._later)
        while first and room > 0:
            first -= 1
            data = self._later[first][1]
            room -= len(data) + (ENVELOPE - 1) * data.count(b"\n")
        # What the pieces that are gone began cannot be shown: the end of a line may be half a secret.
        gone = self._gone | {stream: data[-1:] for stream, data in islice(self._later, first)}
        whole = {stream: gone.get(stream, b"\n") == b"\n" for stream, _ in self._later}
        unended: defaultdict[str, list[bytes]] = defaultdict(list)
        lines: list[tuple[str, bytes]] = []
        for stream, data in islice(self._later, first, None):
            start, *others = data.split(b"\n")
            unended[stream].append(start)
            for line in others:
                if whole[stream]:
                    lines.append((stream, b"".join(unended[stream])))
                whole[stream] = True
                unended[stream] = [line]
        lines += [(stream, b"".join(pieces)) for stream, pieces in unended.items() if whole[stream] and any(pieces)]
        room = TAIL
        for index in range(len(lines) - 1, -1, -1):
            size = len(lines[index][1])
            room -= min(size, LINE) + ENVELOPE if size else 0
            if room < 0:
                return lines[index + 1 :]
        return lines

    def _add(self, line: bytearray, data: bytes) -> None:
        """Add to a line that has not ended; of one without an end only as much is kept as can be shown."""
        line += data[: max(0, LINE + self._margin + 1 - len(line))]

    # --- one line ----------------------------------------------------------------------------------------------

    def _tell(self, stream: str, line: bytes) -> None:
        said = self._said(stream, line)
        if said is None:
            text = self._text(line)
            self.report.message(text, stream=stream)
            if stream == "stderr":
                self.last_complaint = text
        elif said.message is not None:
            self.report.message(self._note(said), level=said.level, stream=stream)

    def _note(self, said: protocol.ProtocolLine) -> str:
        """Remember a message as the program's last one; return it as it can be shown."""
        self.last_message = text = self._mask(_storable(said.message or ""))
        if said.level == "error":
            self.last_complaint = text
        return text

    def _said(self, stream: str, line: bytes) -> protocol.ProtocolLine | None:
        """Return what *line* says to connrunner, its counters noted, or None for an ordinary line."""
        if stream != "stdout" or not line.startswith(b"{") or len(line) > LINE:
            return None
        try:
            said = protocol.parse(line.decode("utf-8", "backslashreplace"))
        except protocol.ProtocolError as error:
            if not self._warned:
                self._warned = True
                reason = self._mask(_storable(str(error)))[:REASON_LENGTH]
                self.report.message(f"a line is logged but not understood: {reason}", level="warning")
            return None
        if said is not None and said.counts is not None:
            self.counts = said.counts
            if self._counted is not None:
                self._counted(said.counts)
        return said

    def _text(self, line: bytes) -> str:
        text = self._mask(line[: LINE + self._margin].decode("utf-8", "backslashreplace").removesuffix("\r"))
        if len(line) <= LINE:
            return text
        if len(line) > LINE + self._margin:
            text = text[: -self._margin]  # the first half of a secret may stand there
        return f"{text[:LINE]} [cut: the line is longer than {LINE} bytes]"


def _storable(text: str) -> str:
    """JSON can spell half a character; no file can hold one."""
    return text.encode("utf-8", "backslashreplace").decode()


def _lines_with(word: bytes, lines: bytes) -> Iterator[bytes]:
    """Yield those of *lines* that hold *word* and begin as an object does, the last one first."""
    end = len(lines)
    while (found := lines.rfind(word, 0, end)) >= 0:
        start = lines.rfind(b"\n", 0, found)
        stop = lines.find(b"\n", found)
        if lines.startswith(b"{", start + 1):
            yield lines[start + 1 : stop if stop >= 0 else None]
        end = max(start, 0)
