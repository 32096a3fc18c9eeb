"""What each code means: of a problem in a file, of a failed run, of a refused row; cause and remedy."""

from __future__ import annotations

from typing import NamedTuple


class Code(NamedTuple):
    """One code, for the person who can act."""

    code: str
    cause: str
    remedy: str


_FILES = """
alias                   YAML aliases (*name) are not used here.  Write the value out, or share a schedule or a target by its name.
anchor                  YAML anchors (&name) are not used here.  Write the value out where it is needed.
bad-address             An address, or its port, is none.  Write it like 127.0.0.1:8080, or 10.0.0.0/8 for a network.
bad-domain              The domain of an address cannot be one.  Correct the part behind the @.
bad-encoding            The file is not UTF-8.  Save it as UTF-8 without another encoding's bytes.
bad-hello               `mail.hello` is neither one host name nor an address in brackets.  Write the name of this machine, like batch.example.com, or leave it out.
bad-mail-server         `mail.server` names no server that mail can be sent to safely.  Write smtp://host:port (STARTTLS), smtps://host:port, or file:FOLDER.
bad-mailbox             The part of an address before the @ cannot reach anybody.  Correct it; only servers with SMTPUTF8 take other letters than ASCII there.
bad-name                The name of a file cannot be the name of a connection, a schedule or a target, or a path is no path.  Use small letters, digits, - and _, at most 63, and begin with a letter or digit.
bad-pattern             A text does not have the form that its key asks for.  The message shows the form; `connrunner explain KEY` shows an example.
bad-reference           Text that begins like a reference to a secret is none.  Write env:NAME, or file:/ and an absolute path.
bad-schedule            The schedule can never be, or says something that no schedule of its type has.  `connrunner explain schedule.TYPE` lists what each type takes.
bad-state               `state` of connrunner.yaml cannot be read at a glance, or differs between commit and folder.  Write it on a line of its own: `state: .connrunner`.
bad-user-header         A header is not one in which a proxy says who asks.  Have the proxy use one of its own, like X-Forwarded-User.
cannot-delete           `deleted: send` stands where the partner cannot delete single people.  Leave it out, or choose a `mode` or `operation` that can.
columns-and-header      `columns` names the columns of files without a header, and these have one.  Add `header: false`, or leave `columns` out.
control-character       A character that no editor shows stands in a file or in data.  Take it out; often it came with a copied text.
cycle                   Connections go behind each other in a circle, by `after`.  Take one `after` out.
directive               YAML directives (%...) are not used here.  Leave the line out.
does-not-fit            A key has no meaning beside another one.  Leave one of them out.
doubtful-schedule       A schedule is sound, and fires at other times than its text makes one think.  Write it as the message says, if that is what you meant.
doubtful-timezone       A time zone exists, and is seldom what people mean by its name.  Name a city whose clock it is.
duplicate-key           A key stands twice in one mapping, or a row has a key that is there already.  Keep one of the two.
duplicate-name          Two files have names that differ only in how they are written.  Rename or remove one.
empty-file              The file holds nothing.  Write something, or remove it; for data, ask who delivers it.
identifier-many         A property is an identifier and `many`; an identifier must find one profile.  Leave out `many` or `identifier`.
import-only             An export asks for a format, or has a key of one, that is for reading.  Take the key away; use csv, jsonl or parquet; {type: csv, for: spreadsheet} opens in Excel.
inexact-number          A number would lose digits or is none of ours (infinite, NaN).  Put it in quotes to make it a text.
invalid                 Something is wrong that has no code of its own.  The message says what.
key-not-text            A key of a mapping is no text.  Put it in quotes.
literal-secret          A secret stands in the file itself.  Put it elsewhere and write where: env:NAME, or file:/path. Then change it: git remembers it.
match-without-field     `match` looks for profiles by a property that no column fills.  Add the property to `fields`.
merge-conflict          A merge that git could not finish by itself left its markers (<<<<<<<, =======, >>>>>>>) in the file.  Keep what is right of both sides, take the markers out, and commit.
merge-key               YAML merge keys (<<) are not used here.  Write the keys out, or share a schedule or a target by its name.
missing-key             A key that must be there is not, or a row lacks the values that find its profile.  Add it; the message shows how.
missing-profile         An import or an export needs profile.yaml, and there is none.  Declare the properties of a profile there.
missing-value           A key stands without a value, or a column that needs a value got none.  Write one, or leave the key out.
needs-all-rows          `mode: replace` with rows that changed only would remove all others.  Write `rows: all` under `export`.
nested-file             A file in a folder further down is not read.  Move it up.
no-commit               `source: git`, and git has no commit that ticks could obey.  Commit the files, or write `source: folder`.
not-a-file              What stands under the name is no regular file.  Put a file there, or rename it.
not-allowed-value       The value is none of those that the key takes.  Use one of those in the message.
not-an-identifier       `match` names a property that does not find profiles.  Add `identifier: true` to it in profile.yaml.
not-configuration       A link leads to what is no file of the configuration.  Put the file itself there.
open-page               `web.listen` can be reached from other machines, and nothing says who may see the page.  Name `web.tokens` or `web.proxy`, or listen on 127.0.0.1.
out-of-range            A number or a time is smaller or larger than what is allowed.  Use one within the limits in the message.
out-of-reach            What a run needs cannot reach the place where its `executor` has it live.  Write `executor: local`, or give the place what it needs, as the message says.
outside-workspace       A link leads out of the workspace.  Put the file itself there.
quote-is-delimiter      `quote` and `delimiter` are the same character.  Change one of them.
repeated-item           A list has the same entry twice.  Leave one out.
schedule-ended          A schedule has no slot to come: its rule has ended, or a blackout leaves out all that follows.  Give it a later end, or write `enabled: false`.
separator-does-not-fit  `separator` stands at a property that holds one value.  Leave it out, or make the property `many`.
several-documents       A file holds more than one YAML document (---).  Give each a file of its own.
several-kinds           Two of import, export and command, or of other keys that exclude each other, stand together.  Give each a file of its own.
tag                     YAML tags (!name) are not used here.  Write the value as it is; in quotes to make it a text.
template                A template of templates/ cannot be rendered.  Fix it at the place in the message; until then mail goes out in our own form.
timezone-does-not-fit   `timezone` stands at a property that holds no times.  Leave it out, or make the property a datetime.
too-deep                A file has more levels than are read.  Write it flatter.
too-long                A value is longer than its place can hold.  Shorten it, or make room for it there.
too-many-nodes          A file has more parts than are read.  Split it.
too-many-problems       A file has so many problems that the rest is not listed.  Fix the first ones.
too-short               A text or a list is empty that must hold something.  Write at least one entry.
unknown-encoding        There is no encoding of this name.  Write utf-8, latin-1 or cp1252.
unknown-key             A key that nobody reads: a misspelling, or one that stands at the wrong level.  The message names the nearest one.
unknown-language        There is no language of this name.  Write a tag such as nl or de-AT.
unknown-name            A connection, schedule, target, property or objective is named that is declared nowhere.  Declare it, or correct the name.
unknown-timezone        There is no time zone of this name.  Write an IANA name such as Europe/Amsterdam.
unreadable              A file is there and cannot be read.  Check its owner and mode.
write-does-not-fit      A way of writing (`add`, `remove`, `increment`) does not fit the type of the property.  Use set or set_if_empty, or change the property.
wrong-suffix            The file ends in .yml.  Rename it to .yaml.
wrong-type              A value has another type than its key or its property.  Write the type that the message names; of data, ask who delivers it.
"""

_RUNS = """
bug                     connrunner itself failed.  Report it with the traceback that `connrunner log NAME RUN` shows.
busy                    Another connrunner does the same at this moment.  Wait for it, or try again in a minute.
cannot-start            A program or the worker could not be started.  Check that it is installed, may be executed, and is on the PATH of cron.
config-error            The connection was due and its file could not be used.  `connrunner validate` shows why; its slots are skipped until it is fixed.
crashed                 The worker's process died before it could say how the run went: killed by the kernel for lack of memory, for example.  Look into the system's log and into worker.txt beside the run's log.
declined                Nothing was changed: what the run would change was declined.  Put right what its source has; the next run that would change something else goes on.
deleted                 Somebody deleted the run's job in Kubernetes or Slurm before it said how it went.  Look at the effects, then `connrunner run NAME`; `connrunner stop NAME` is the way to end one.
disk-full               A disk is full, or a quota or limit is used up: the message has the folder.  Make room there; the profile store is sound.
does-not-end            Processes of the run are still there after SIGKILL: they hang in the kernel, often on a disk or a network file system.  Fix what they wait for, or restart the machine; the lane stays closed until they are gone.
exit-status             The program ended with a status other than 0.  Its last words are in the message; `connrunner log NAME RUN` has all of them.
expectation             What `expect` says does not hold, so nothing was changed.  Look at the data; if it is right, change `expect`.
failed                  The run failed for a reason without a code of its own.  The message says what.
held                    What the run would change waits for somebody to approve it: `expect` with `otherwise: hold`, or `review: always`.  `connrunner log NAME RUN` shows it; `connrunner approve` or `connrunner decline`.
interrupted             The run was cut off (power, kill, a crash), and nobody knows how far it came. It is not started again by itself.  Look at the effects, then `connrunner run NAME`.
left-behind             The program ended, and something that it started still holds its output.  Let the program wait for its children.
lost                    The run lived where it cannot be seen any more, and a person said that nothing of it lives.  Look at the effects, then `connrunner run NAME`.
not-held                A decision came to nothing: the run is not held any more.  `connrunner status` shows what is held now.
not-permitted           The account may not do what the run asks for.  Give it the right, or use another account.
operating-system        The operating system refused something: the message has its words.  Fix what it names (space, rights, limits).
out-of-memory           The work needs more memory or temporary space than it may use.  Give the machine more, or split the file.
refused-by-engine       Kubernetes or Slurm refuses the run: a right is missing, or its settings are wrong.  `connrunner doctor --executor` says which; then `connrunner run NAME`.
secret-literal          A secret is no reference.  Write env:NAME, or file:/path.
secret-missing          The variable or the file that a reference names is not there, or not readable for connrunner.  Set it for the user that cron runs as.
shutdown                connrunner was told to end while the run worked (SIGTERM, a reboot).  The next slot runs; `connrunner run NAME` runs now.
signal                  A signal ended the program.  Signal 9 is often the kernel, for lack of memory.
stopped                 Somebody stopped the run; the message says who and why.  Nothing; its next slot runs.
timeout                 The run took longer than `timeout`.  Find out why it is slow, or raise `timeout`; `connrunner explain NAME` shows how long it usually takes.
too-late                The run could not start within `start_within` after it was due: no tick came, or it waited in the queue.  See what held the lane (`connrunner explain NAME`) and whether cron calls tick; the next slot runs.
unbalanced              The counters do not add up, so nobody knows what became of some rows.  Of a command: fix what it prints; else report it as a bug.
"""

_STORE = """
already-recorded        The profile store has this run already.  The state folder and the store are of different backups: restore both from one.
erased                  A person with an identifier of the row was erased.  Nothing; `connrunner profiles erase VALUE --forget-erasure` lets the person come back.
erasure-key             The key of the erasures is gone, so nobody can tell who was erased.  Put erasure.key back from a backup of the state folder.
foreign-store           The file is no profile store of this version.  Name another `state`, or use the version that wrote it.
identifier-not-unique   A property cannot become an identifier, since several profiles share values.  Fix the values first.
identifier-taken        A row would give a profile an identifier that another profile has.  Find out which of both is right.
mapping                 The fields, objectives or consent of the connection do not fit profile.yaml.  `connrunner validate`, then correct the one in the message.
no-consent              The profile has not consented to any objective of the connection.  Nothing, unless the consent is wrong: import it.
no-store                There are no profiles yet.  Run an import first.
no-undo                 The run cannot be undone: it was no import, has been undone, or what it overwrote is not kept any more.  The message says which; import a corrected file instead.
not-exported            The run has exported nothing that could be acknowledged.  Report it as a bug.
not-fetched             A file was not fetched though its rows are needed.  `connrunner reset NAME`, and run again.
not-found               No profile, or no page at the partner, is found by what the row or the address says.  Correct it, or set `create: true`.
store-busy              Another process has the profile store open.  Try again when it is done; runs of connrunner wait for each other.
store-changed           Another process changed what the profile store knows of a connection while its files were read.  Run it again; nothing was changed.
store-path              The profile store cannot be at this path.  Put the state folder on a local disk.
store-unusable          The profile store is lost, damaged, or cannot be read or written.  `connrunner doctor` says which; put it back from a backup, or begin anew without its profiles: `connrunner reset --profiles`.
superseded              A run was undone, and a later run has changed this value since, so it stays.  Undo the later run, too, or leave it.
type-changed            A property has another type in profile.yaml than the stored values.  Change it back, or give the property a new name.
unknown-row             A connector speaks of a row that was not sent.  Report it to the connector's author.
where                   `where` of the export is no expression over the properties.  Correct it as the message says; `connrunner run NAME --dry-run` tries it.
"""

_FORMATS = """
ambiguous               A row finds more than one profile.  Match by an identifier that is unique, or fix the profiles.
bad-header              The header of the file cannot be read.  Look at its first line: delimiter, quotes, encoding.
bad-json                A record is not one JSON object.  Write one object a line, or name the list with `rows`.
bad-quoting             The quotes of a row do not pair up.  Write a quote inside a quoted value twice.
binary-column           A column holds bytes, which are no text.  Leave it out, or encode it where the data comes from.
damaged-file            The file is cut off or damaged.  Ask for it again; it is read again when it changes.
duplicate-column        Two columns have the same name.  Rename one where the data comes from.
formula-error           A cell of a workbook holds an error such as #N/A, or a formula without a value.  Fix the formula there; open the workbook in Excel and save it.
inexact-column          A column holds numbers of more digits than are kept.  Write fewer digits, or texts.
line-too-long           A program printed a line longer than any record can be.  Let it print one record a line.
malformed-json          The file is no sound JSON.  Fix it at the line in the message.
missing-column          A column that the connection reads is not there.  Correct the name in `fields`, or ask who delivers the data.
missing-rows            The path of `rows` leads to no list.  Correct `format.rows`.
not-a-number            A value is NaN or an infinity, and the property is no number.  Leave the value out where the data comes from.
not-gzip                The file is not packed with gzip, though its name or `compression` says so.  Set `compression`, or fix the sender.
not-zstd                The file is not packed with Zstandard, though its name or `compression` says so.  Set `compression`, or fix the sender.
too-few-columns         A row has fewer columns than the header.  Often a line break or a delimiter in a value without quotes.
too-many-columns        A row has more columns than the header.  Often a delimiter in a value without quotes.
unknown-sheet           The workbook has no such sheet.  Correct `format.sheet`.
unordered               The rows of a file cannot be numbered in their order.  Ask for an uncompressed file, or report it.
unreadable-file         A data file cannot be read.  Check its owner and mode.
unwritable-format       A value cannot be written in this format.  Set `quote` or another `encoding`, or use another format.
wrong-delimiter         The header is one column: the delimiter is another one.  Set `format.delimiter`.
wrong-encoding          Bytes of the file are not of the encoding that `format` says.  Set `format.encoding`.
wrong-format            The file is of another format than `format` says.  Set `format.type`; a web page instead of data is often a login page.
"""

_PARTNERS = """
access-denied           The store of objects does not allow it for these keys.  Give the keys the right that the message names.
all-refused             The partner refused every row, so nothing was changed there.  The first refusal says why.
already-there           A file of this name is there, and `overwrite: never` keeps it.  Put {run} into the name.
ambiguous-key           Several records have the key of a row.  Make the key unique at the partner, or correct the records.
archived                The object is in an archive and has to be restored first.  Restore it, or exclude it by `path`.
bad-answer              The partner answers with something that is not what the connector reads.  Look at the address and at the message; ask the partner.
bad-batch               A Singer tap sent a batch that cannot be read.  Ask its author, or switch batches off in its `config`.
bad-ca-file             `ca_file` is no file of certificates.  Name the PEM file of the authority, relative to the workspace.
bad-catalog             The catalog of a Singer tap cannot be read.  Let `connrunner connectors` find it anew, or correct the file.
bad-certificate         The server's certificate is refused: expired, of another name, or of an unknown authority.  Fix it at the server, or name the authority with `ca`.
bad-duration            A duration is none.  Write 90s, 15m, 6h or 2d.
bad-endpoint            `endpoint_url` is no endpoint, or one without TLS.  Write https://host.
bad-host-key            `host_key` is no host key.  Copy a line of `ssh-keyscan HOST` without the name.
bad-key                 The key is no private key, or needs its passphrase.  Name the file of the private key; set `passphrase`.
bad-lock                A lock of `connectors lock` cannot be read, or is not about this package.  Write it anew: `connrunner connectors lock`.
bad-output              A program printed what its protocol does not have.  Look at `connrunner log`; ask its author.
bad-paging              The way of asking for pages does not fit the answers.  Correct `paging`.
bad-profile             A profile of the AWS files gives no keys.  Correct the file or `profile`.
bad-query               The query is not accepted by the database.  Try it there by hand.
bad-redirect            The server leads to another address that must not be followed.  Write the final address.
bad-setting             A setting does not fit another one.  The message names both.
bad-settings            Settings do not fit each other.  The message names them.
bad-table               `table` is no name of a table.  Write schema.table or table.
bad-url                 `url` is no address that can be asked.  Write https://host/path without a password in it.
bad-value               The database does not take a value.  Correct it at its source.
bad-watermark           The values of the watermark cannot be compared.  Use a column of dates, times or numbers that only grow.
blocked                 The partner has blocked the action for a while, for its policies.  See its support pages.
broken-connector        The package of a connector cannot be loaded.  Fix its installation.
broken-off              The connection broke off in the middle of an answer.  The next run tries again; if it stays, ask the partner.
cannot-install          The program of a connector cannot be installed.  The message has the installer's last words.
cannot-lock             What the program of a connector needs cannot be found out.  The message has the installer's last words.
cannot-send             A value means something else to the partner.  Correct the value.
changed-host-key        The server has another host key than the known one: it was set up anew, or somebody is in between.  Ask the owner by another way, then correct the known key.
changing                The file changes each time it is read.  Let the sender write under another name and rename.
check-failed            A rule of the database refuses the row.  Correct it at its source.
clock                   The clocks of this machine and of the server differ too much.  Set the clock.
conflict                Another transaction was in the way.  The next run tries again.
connection-lost         The server broke the connection.  The next run tries again; look into the server's log.
cut-off                 Less came, or arrived, than was announced.  The next run tries again.
endless-pages           The pages lead in a circle.  Correct `paging`, or ask the partner.
expired-credentials     The keys have expired.  Get new ones.
flagged                 Meta has flagged the audience and takes no change of its members.  Resolve it in Meta's Ads Manager, under Audiences.
forbidden               The partner does not allow it for this account.  Ask for the right.
foreign-account         The audience belongs to another ad account.  Correct `audience_id` or `account`.
foreign-host            The address leads to another host, which gets no credentials.  Write that host as the address, if it is right.
incomplete              Not everything came.  The next run tries again; files that still grow are left for later.
job-failed              The partner gave up a job.  Its words are in the message; what it did not process is offered again.
ledger                  The file in which a connector remembers whom the partner has cannot be read.  Put it back from a backup.
limit-exceeded          The partner's calls or jobs of the day are used up, or the share that the connection may use.  Let it run later; find out who uses them.
link-local              The address is the one where clouds tell a machine its credentials; it is never asked.  Correct `url`.
login-refused           The server refused the login.  Check user, key or password there.
lost-rows               A Singer target counted fewer rows than it was sent.  Look at its log; the next run sends them again.
missing-database        There is no such database.  Correct the name, or create it.
missing-driver          The driver of the database is not installed.  Install the package in the message beside connrunner.
missing-extra           The connector, or the format of a file, needs an extra.  Install it: `pip install connrunner[NAME]`.
missing-reference       A row names something that the database does not have.  Send that first.
missing-table           There is no such table.  Correct the name, or create it.
no-agent                There is no SSH agent.  Start one for the user that cron runs as, or name a `key`.
no-answer               Nothing was heard in time.  The next run tries again; look whether the server is up and a firewall in between.
no-bucket               There is no such bucket.  Correct the name or the region.
no-credentials          There are no keys to sign in with.  Give references to them in the connection, or in the environment of cron.
no-external-id          There is no field by which records are found.  Make one at the partner, or name the right one.
no-files                No file has a name that fits `path`.  Nothing was delivered, or `path` is wrong; `when_none` says whether that is a failure.
no-folder               The folder of `path` is not there.  Correct it, or create it.
no-host                 The name of the host is not known.  Correct it; ask whether the name service works on this machine.
no-incremental          The stream can only be read whole.  Leave out `incremental`.
no-key                  A row has no value by which the partner could find a person.  Fill one of the properties in `keys`.
no-known-hosts          The file of known hosts cannot be read.  Correct `known_hosts`, or give `host_key`.
no-ledger               A connector has no folder for what its next run has to know.  Report it as a bug.
no-manifest             There is no such manifest.  Correct the path.
no-object               The partner has no such object, or does not show it to this user.  Correct `object`, or give the user the right.
no-program              The package brings no such program.  Correct `program`.
no-receipt              A Singer target did not say that the rows arrived.  Look at its log; the next run sends them again.
no-result               The partner said nothing about a row.  It is offered again; look there first if each row makes a new record.
no-room                 What the run fetches would take more than half of the room that is free on the disk of the state folder.  Make room there, or ask for less at once.
no-rows                 The answer has no list where `rows` says.  Correct `format.rows`.
no-secure-connection    Client and server know no common safe way.  Update the server; weak ciphers are not used.
no-sftp                 The server lets the account in and gives no SFTP.  Ask its owner to switch it on.
no-stream               The program has no such stream.  Correct `stream`.
no-tls                  Everything would travel readable.  Write https:// or another way with TLS; without it only this machine is reached.
no-unique-key           The columns of `unique` are not unique in the table.  Make a unique index over them, or name others.
not-in-picklist         The list of allowed values lacks the value.  Add it to the list, or correct the value.
not-installed           The program of the connector is not installed.  `connrunner connectors install`.
not-locked              Other programs of the workspace are locked, and this one is not.  `connrunner connectors lock`, and commit what it writes.
not-pinned              The package names no exact version.  Write name==version.
not-sent                A row was not sent, because one before it failed.  The next run offers it again.
not-ssh                 What answers there does not speak SSH.  Correct host and port.
not-writable            A field cannot be written, or not by this user.  Leave it out, or give the user the right.
old-version             The version of the partner's API has ended.  Set `version` to a newer one.
other-audience          Earlier runs filled another audience.  Remove them there, then `connrunner reset NAME`.
outside-folder          A link leads out of the folder of `path`.  Put the file itself there.
password-in-url         `url` holds a password.  Write it as a reference under `password`.
permission-denied       The server does not allow it for this account.  Ask its owner for the right.
read-only               The database takes no changes.  Name the primary server.
refused                 The partner refused a row or a request.  Its words are in the message.
refused-by-trigger      A trigger of the database refuses the row.  Its words are in the message.
refused-config          The program refused its `config`.  Its words are in the message.
refused-with-batch      A row was refused with all others of its batch.  Make `batch` smaller to find the one.
server-busy             The server has too much to do.  The next run tries again; choose another hour if it stays.
server-error            The server failed.  The next run tries again; ask its owner if it stays.
session                 The partner did not take the session of an upload.  Let the connection run again.
source-error            The program of a source says that it failed.  Its words are in the message.
stalled                 Nothing was heard from it for too long.  Look at the partner; raise its timeout if it is only slow.
terms                   Nobody has accepted the terms of custom audiences for the ad account.  Accept them at the address in the message.
throttled               The partner takes no more requests for now.  Ask less often, or at another hour.
too-large               It is larger than what can be taken, or than `max_bytes` allows.  Split it, or ask for less at once; raise `max_bytes` if so much is right.
too-many-pages          There are more pages than `pages` allows.  Raise the limit if that is right.
too-many-refused        So many rows were refused that the run was given up.  The last refusal says why.
too-small               Meta keeps people in an audience that would become too small.  Remove the audience, or let it grow first.
unauthorized            The partner does not accept the credentials.  Renew them.
unclear                 The answer does not say which rows were taken.  Ask the partner; those rows are offered again.
unconfirmed             Nobody knows whether the rows arrived.  Look there; they are offered again.
unfinished              No file is whole yet: all still grow.  They are read once they stay as they are.
unknown-column          A setting names a column that the rows lack.  Correct it, or add it to `fields`.
unknown-connector       There is no connector of this type.  Correct `type`, or install the package that brings it.
unknown-database        There is no database of this kind.  Correct the beginning of `url`.
unknown-field           The object has no such field, or does not show it to this user.  Correct the name, or give the user the right.
unknown-host            The name of the host is not known.  Correct it; ask whether the name service works on this machine.
unknown-host-key        The host key of the server is not known yet.  Ask its owner for the fingerprint, then put the key into `host_key`.
unknown-outcome         The connection broke while changes were made final: nobody knows whether they were.  Look there before you run it again.
unknown-placeholder     A name in braces is none that a path can have.  Use {run}, {date} or another of those in the message.
unprocessed             The partner did not come to a row.  It is offered again.
unreachable             The server cannot be reached.  Look whether it is up, and whether a firewall is in between.
unverified              The certificate of the server would not be verified.  Use another driver, or name the authority.
unwritable              A file or folder cannot be written.  Check space, owner and mode.
would-change            The database would keep another value than the one that was sent: rounded, cut, or spelt otherwise.  Give the column a type that holds it, or correct the value.
wrong-credentials       The keys or the password are not accepted.  Renew the secret that the reference names.
wrong-region            The bucket is in another region.  Set `region` to the one in the message.
"""

GROUPS = {
    "Files of the workspace": _FILES,
    "Runs": _RUNS,
    "Profiles": _STORE,
    "Formats and rows": _FORMATS,
    "Partners": _PARTNERS,
}


def grouped() -> dict[str, list[Code]]:
    """Return every code by what it is about, each group in alphabetical order."""
    return {group: [_code(line) for line in table.strip().splitlines()] for group, table in GROUPS.items()}


def known() -> dict[str, Code]:
    """Return every code by its word."""
    return {code.code: code for codes in grouped().values() for code in codes}


def _code(line: str) -> Code:
    word, rest = line.split(maxsplit=1)
    cause, remedy = rest.strip().split(".  ", maxsplit=1)
    return Code(word, f"{cause}.", remedy)
