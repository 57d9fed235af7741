# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The helper's Varlink interface, and the names of its errors. PRIVATE to the collection."""

from __future__ import annotations

INTERFACE = "io.holdfast.Helper"
_TEXT = """\
# Operations that need privileges, for callers that have none. Who calls is told by the kernel, never by the message.
# Times are in seconds.
interface io.holdfast.Helper

# A descriptor is named by its place, from 0, among those that come with the message (SCM_RIGHTS): sent in one piece of at
# most 32 KiB, on a connection that ends with the answer.
type Parameter (
  name: string, type: (integer, string, boolean, enum, path, address, descriptor), required: bool,
  description: string
)

# isolation: a process for the call alone, or one that does one call after the other with the same privileges.
# seccomp: whether its system calls are filtered; they are not where the kernel can't.
# idempotency says when a call is made again after the helper has died in the middle of it: pure and idempotent ones
# are, once never. on_disconnect says what happens to a call whose caller goes away. asynchronous: whether it can be
# begun by Start; one that always is so is a job also when it is called. secured_by: what this host has to hold meanwhile.
# returns_descriptor: a descriptor comes with the answer, and result is its place, 0. makes: resources that Acquire has it make.
type Operation (
  name: string, description: string, idempotency: (pure, idempotent, once), on_disconnect: (finish, cancel),
  timeout: float, isolation: (pooled, fresh), seccomp: bool, asynchronous: (never, allowed, always), stream: bool,
  secured_by: ?string, returns_descriptor: bool, makes: []string, parameters: []Parameter
)

# exit: the exit code, or minus the signal that ended it. truncated: there was more output than is kept. result: what a
# function returned; any JSON.
type Result (exit: int, stdout: string, stderr: string, truncated: bool, duration: float, result: ?object)

# A job: a call that goes on when its caller leaves, and when the helper does. user: whose it is. Times are seconds since
# 1970. percent and text of progress are what it said last. stdout and stderr: the end of what it wrote so far; a list of
# jobs has neither these nor the result. lost: it began, and nobody knows how it ended. error says why it did not end by itself: cancelled,
# lost, timeout, cannot_start, raised, abandoned (it hangs in the kernel).
type Progress (percent: ?float, text: string)
type JobRecord (
  id: string, user: int, operation: string, parameters: object,
  state: (queued, running, done, failed, cancelled, lost),
  created: float, began: ?float, ended: ?float, progress: ?Progress, stdout: ?string, stderr: ?string, truncated: bool,
  exit: ?int, result: ?object, error: ?string, message: ?string
)

# Runs an operation, and answers when it has ended. id is the caller's own name for the call; the same id again is the
# same call: it gets the same answer and does not begin a second time.
# timeout: how long the caller waits. After that it is told DeadlinePassed, and the call is ended unless somebody else
# waits for it too; a job goes on.
method Call(operation: string, parameters: ?object, id: ?string, timeout: ?float) -> (
  exit: int, stdout: string, stderr: string, truncated: bool, duration: float, result: ?object
)

# As Call, for an operation that may be read: what it writes is told as it comes, and at last the result, without outputs. Who
# does not read on holds up the program. Needs more.
method Stream(operation: string, parameters: ?object, id: ?string, timeout: ?float) -> (
  stdout: ?string, stderr: ?string, result: ?Result
)

# The operations that the caller may call, and no others.
method Operations() -> (operations: []Operation)

# What became of a call of the same user. never_began: nothing was done. unknown: it began, and the helper died before
# its end. done: result, or error with the name of what Call would have answered.
method Outcome(id: string) -> (
  state: (never_began, running, done, unknown), operation: ?string, result: ?Result, error: ?string
)

# Begins an operation that may be asynchronous, and answers when it has begun or waits for its turn. The same id again is
# the same job. Without an id it gets one.
method Start(operation: string, parameters: ?object, id: ?string) -> (job: JobRecord)

# The jobs of the caller, and of everybody when root asks.
method Jobs() -> (jobs: []JobRecord)

# A job. wait: answer when it has ended. With more, at each change until then. user: whose it is; for root only.
method Job(id: string, wait: ?bool, user: ?int) -> (job: JobRecord)

# Ends a job with all that belongs to it, and answers when it has ended: SIGTERM, and after five seconds SIGKILL.
method Cancel(id: string, user: ?int) -> (job: JobRecord)

# A shared resource with its parameters. shared, exclusive: who holds it.
type Thing (
  resource: string, parameters: object, state: (creating, present, destroying, failed, absent),
  shared: int, exclusive: bool, waiting: int, message: ?string
)

# Holds a resource as long as the connection lives, or until Release; answers when it is there and it is the caller's turn. token is the
# caller's own name for it: the same again is the same. After a restart of the helper it is held as long as the process lives that
# had made the connection; by its token it can be bound to a new one.
method Acquire(
  resource: string, parameters: ?object, mode: ?(shared, exclusive), token: ?string, timeout: ?float
) -> (token: string, state: string)

# Ends a reference. Said again it changes nothing.
method Release(token: string) -> (released: bool)

# The resources that the caller may hold, as far as they are there or asked for.
method Resources() -> (resources: []Thing)
"""
ERRORS = """\
# There is no such operation, or the caller may not call it.
error NotAllowed (operation: string)
error BadParameter (parameter: string, message: string)
error CannotStart (operation: string, message: string)
# A function raised an exception: its type and message.
error Failed (operation: string, type: string, message: string)
# The process of a function died before it had an answer.
error WorkerDied (operation: string, message: string)
# The worker was killed. abandoned: even that did not end it, and it hangs in the kernel.
error Timeout (operation: string, seconds: float, abandoned: bool)
# The caller may make so many calls in so many seconds, of this operation or, with operation null, of all; nothing was
# done, and will not be before retry_after seconds have passed.
error TooOften (operation: ?string, calls: int, seconds: float, retry_after: float)
# This host does not hold the lease; nothing was done. With lost, it did, and the worker was killed, as the lease ended:
# the operation began, and nobody knows how far it came.
error NotHeld (operation: string, resource: string, message: string, lost: bool)
# Too much at once; nothing was done.
error Busy (message: string)
# The id was used for another call, or is none.
error BadId (id: string, message: string)
# The call began, and nobody knows how it ended. It was not begun again.
error OutcomeUnknown (operation: string, id: string)
# The job was cancelled.
error Cancelled (operation: string, id: string)
error NoSuchJob (id: string)
# The caller did not want to wait any longer.
error DeadlinePassed (seconds: float)
# A resource could not be made.
error ResourceFailed (resource: string, message: string)
# The operation can't be read as it runs.
error NotReadable (operation: string)
# The operation can't be begun by Start.
error NotAsynchronous (operation: string)
# The helper is about to end; nothing was done.
error Stopping ()
"""
DESCRIPTION = _TEXT + "\n" + ERRORS

NOT_ALLOWED = f"{INTERFACE}.NotAllowed"
BAD_PARAMETER = f"{INTERFACE}.BadParameter"
CANNOT_START = f"{INTERFACE}.CannotStart"
FAILED = f"{INTERFACE}.Failed"
WORKER_DIED = f"{INTERFACE}.WorkerDied"
TIMEOUT = f"{INTERFACE}.Timeout"
TOO_OFTEN = f"{INTERFACE}.TooOften"
NOT_HELD = f"{INTERFACE}.NotHeld"
BUSY = f"{INTERFACE}.Busy"
BAD_ID = f"{INTERFACE}.BadId"
OUTCOME_UNKNOWN = f"{INTERFACE}.OutcomeUnknown"
CANCELLED = f"{INTERFACE}.Cancelled"
NO_SUCH_JOB = f"{INTERFACE}.NoSuchJob"
DEADLINE_PASSED = f"{INTERFACE}.DeadlinePassed"
RESOURCE_FAILED = f"{INTERFACE}.ResourceFailed"
NOT_READABLE = f"{INTERFACE}.NotReadable"
NOT_ASYNCHRONOUS = f"{INTERFACE}.NotAsynchronous"
STOPPING = f"{INTERFACE}.Stopping"
