"""What the fake does although nothing that is known of OpenCode 2 says so: each may be wrong on a real one."""

ASSUMPTIONS = (
    "A queued prompt runs in the same busy period as the turn before it: one execution, one idle message at its end "
    "(source: one terminal event for each busy period). `idle_between_turns=True` plays the other reading.",
    "After a turn that failed, was declined or was interrupted, what is in the inbox stays parked there.",
    "A parked inbox is delivered with the next prompt: that prompt first, then what was parked, each in its own step.",
    "Interrupting a session withdraws its pending permissions and cancels its pending forms without an event.",
    "At a restart pending permissions and forms are gone, the inbox stays parked, the assistant message of the turn "
    "has neither `finish` nor `time.completed`, and its running tool calls stay `running`.",
    "`outcome` keeps its old value while a new turn runs, and after a restart in the middle of a turn.",
    "`experimental.session.wait` returns at once for an idle session, also with a parked inbox; it has no time limit.",
    "Errors 429, 5xx and a lost connection are retried as the source says (2 s, doubled up to 10 s, ten times), though "
    "the recorded failure of a provider shows none; `retry_seconds=()` plays that.",
    "A context overflow is compacted once if nothing was written yet; after that it fails as provider.invalid-request.",
    "A tool whose action is denied for `*` is not offered to the model.",
    "Tool calls of one step run at the same time.",
    "An unknown tool, and arguments that are not JSON, fail the call as tool.unknown and tool.input-json.",
    "`subagent` takes agent, prompt, description and background; `shell` takes command, description and background.",
    "The title is made by a call of the model beside the first turn of a root session.",
    "`session.shell` does not make a session active, and the model does not see its message.",
    "A directory that does not exist is 404 LocationNotFoundError where the document declares that, so not for "
    "session.create, whose session then refuses prompts; a session whose worktree was removed can still be read.",
    "An agent that the location lacks denies everything; a model that it lacks fails the turn as provider.no-route.",
    "Messages page by an opaque cursor; the page after the last one is empty, and `next` is on every page with data.",
    "A diff compares text files outside of .git, ignored ones too, and is empty where the folder is no git repository.",
    "The id of a project is a hash of its main checkout's path; worktrees are made in a folder of the fake.",
    "A removed session is interrupted, with its children, before it is gone.",
    "Reading events: instructions.updated is published in the first turn only, with an empty delta.",
    "Cancelling or answering a form of a turn that was interrupted is 404 FormNotFoundError.",
    "A request that waits when the process ends (wait, log, event) is cut: 503 service_stopping, or the stream ends.",
    "Keys of providers are in clear in provider.list and config.get.",
)
