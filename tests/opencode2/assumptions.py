"""What the fake does although nothing that is known of OpenCode 2 says so: each may be wrong on a real one."""

ASSUMPTIONS = (
    "The source text that says how the inbox is delivered, what wakes a session, and that the first admission of an id "
    "counts is of the 2.x line, of no known release.",
    "Making a queued prompt steer wakes an idle session fully: what else is queued runs as well.",
    "At a restart pending permissions and forms are gone, the inbox is as it was, the assistant message of the turn "
    "has neither `finish` nor `time.completed`, and its tool calls stay `running` until the session runs again.",
    "`outcome` keeps its old value while a new turn runs, and after a restart in the middle of a turn.",
    "Errors 429, 5xx and a lost connection are retried as the source says (2 s, doubled up to 10 s, ten times), though "
    "the recorded failure of a provider shows none: `retry_seconds=()` plays that. There is no check for doom loops.",
    "A context overflow is compacted once if nothing was written yet; after that it fails as provider.invalid-request.",
    "A tool whose action is denied for `*` is not offered to the model.",
    "Tool calls of one step run at the same time.",
    "An unknown tool, and arguments that are not JSON, fail the call as tool.unknown and tool.input-json.",
    "`subagent` takes agent, prompt, description and background. A command's time limit of two minutes is not played.",
    "Each command of a line is a resource of its own, split at the shell's operators; always stores its first word.",
    "The title is made by a call of the model beside the first turn of a root session.",
    "`session.shell` does not make a session active, and the model does not see its message.",
    "A directory that does not exist is 404 LocationNotFoundError where the document declares that, so not for "
    "session.create, whose session then refuses prompts; a session whose worktree was removed can still be read.",
    "An agent that the location lacks denies everything; a model that it lacks fails the turn as provider.no-route.",
    "Messages page by an opaque cursor; the page after the last one is empty, and `next` is on every page with data.",
    "A diff compares text files outside of .git, ignored ones too, and is empty where the folder is no git repository.",
    "vcs.status and vcs.diff of the working copy have untracked files too; the other modes are not played.",
    "The id of a project is a hash of its main checkout's path; worktrees are made in a folder of the fake.",
    "A removed session is interrupted, with its children, before it is gone.",
    "Reading events: instructions.updated is published in the first turn only, with an empty delta.",
    "A form's text is not held to its format (email, uri, date).",
    "A request that waits when the process ends (wait, log, event) is cut: 503 service_stopping, or the stream ends.",
    "A file of a prompt that is not there is 400 InvalidRequestError; `start` and `end` are its first and last line.",
    "Keys of providers are in clear in provider.list and config.get.",
)
