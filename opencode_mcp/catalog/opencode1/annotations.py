"""The annotations of OpenCode 1. A comment gives the reason for a surprising entry, observed on 1.18.33 or read in its
code."""

from __future__ import annotations

from opencode_mcp.catalog.annotations import Annotations, parse_operation_ids

READS = parse_operation_ids("""
    app.agents app.skills command.list
    config.get config.providers
    event.subscribe
    experimental.capabilities.get experimental.console.get experimental.console.listOrgs
    experimental.resource.list experimental.session.list
    experimental.workspace.adapter.list experimental.workspace.list experimental.workspace.status
    file.list file.read file.status find.files find.symbols find.text
    formatter.status
    global.config.get global.event global.health
    lsp.status mcp.status path.get permission.list
    project.current project.directories project.list
    provider.auth provider.list
    pty.get pty.list pty.shells
    question.list
    session.children session.diff session.get session.list session.message session.messages session.status
    session.todo
    sync.history.list  # a POST only because its filter is a body
    tool.ids tool.list
    vcs.diff vcs.diff.raw vcs.get vcs.status  # git runs the filters that the repository's own .git/config names
    worktree.list

    v2.agent.list v2.command.list v2.event.subscribe
    v2.fs.find v2.fs.list v2.fs.read
    v2.health.get
    v2.integration.attempt.status v2.integration.get v2.integration.list
    v2.location.get v2.model.list
    v2.permission.request.list v2.permission.saved.list
    v2.provider.get v2.provider.list
    v2.pty.get v2.pty.list
    v2.question.request.list v2.reference.list
    v2.session.active v2.session.context v2.session.events v2.session.get v2.session.history v2.session.list
    v2.session.message v2.session.messages v2.session.permission.get v2.session.permission.list
    v2.session.question.list
    v2.session.wait  # a POST that only waits
    v2.skill.list
""")
"""Do not change anything."""

WRITES = parse_operation_ids("""
    app.log
    experimental.projectCopy.generateName  # stores nothing, but sends `context` to a model, which costs
    experimental.session.background
    experimental.workspace.syncList
    provider.oauth.authorize  # begins an attempt; the credential changes in provider.oauth.callback
    pty.connectToken  # the ticket opens a shell, but only pty.connect uses it
    pty.update  # title and size
    session.create session.fork
    sync.start
    tui.appendPrompt
    tui.control.next  # a GET that takes the request off the queue, so that no other reader sees it
    tui.control.response
    tui.openHelp tui.openModels tui.openSessions tui.openThemes tui.selectSession tui.showToast

    v2.projectCopy.refresh  # forgets only copies whose directory is gone
    v2.pty.connectToken v2.pty.update
    v2.session.create
    v2.session.permission.create  # only creates the request; v2.session.permission.reply decides
""")
"""Add or change something; nothing is lost."""

DESTROYS = parse_operation_ids("""
    auth.remove
    auth.set  # replaces the credential; type wellknown with a dead URL leaves no instance usable
    config.update  # writes config.json into the project and disposes the instance: running prompts abort
    experimental.console.switchOrg  # the organisation decides about providers and where shares go
    experimental.controlPlane.moveSession  # with moveChanges the source loses its uncommitted changes
    experimental.workspace.create  # hands every stored credential to the workspace's adapter
    experimental.workspace.remove  # and its sessions
    experimental.workspace.warp  # cancels the session's work; with copyChanges patches the target
    global.config.update  # rewrites the user's configuration and disposes every instance
    global.dispose  # aborts every prompt, shell, terminal and MCP server
    global.upgrade  # replaces the program
    instance.dispose  # as global.dispose, for one directory
    mcp.add  # runs any command as a process; replaces the server of that name
    mcp.auth.authenticate mcp.auth.callback mcp.auth.remove
    mcp.auth.start  # stores a new OAuth state, which ends a pending flow; may register a client
    mcp.connect  # runs the configured command, and replaces an existing connection
    mcp.disconnect  # takes tools from running sessions
    part.delete part.update
    permission.reply permission.respond  # an approval lets the command run, `always` also later ones
    project.initGit  # reloads the instance once the repository exists: running prompts abort
    project.update  # overwrites also the script that new worktrees run
    provider.oauth.callback  # replaces the credential
    pty.connect  # a GET, but a WebSocket that types into a shell
    pty.create  # runs any command
    pty.remove
    question.reject  # ends the turn
    question.reply  # a model with tools continues from the answer
    session.abort
    session.command  # a model with tools edits, runs, fetches
    session.delete session.deleteMessage
    session.init session.prompt session.prompt_async  # as session.command
    session.revert  # restores files over what they have become
    session.share  # can be taken back, but not unseen
    session.shell
    session.summarize  # the summary replaces the context; reverted messages are deleted
    session.unrevert  # restores files over what they have become
    session.unshare  # the link never works again
    session.update  # also adds permission rules, so that later commands run unasked
    sync.replay  # events of any type, deletions too
    sync.steal  # takes the session from its workspace
    tui.clearPrompt  # loses the draft
    tui.executeCommand tui.publish  # any command of the TUI: share, interrupt, compact, submit
    tui.submitPrompt  # as session.prompt
    vcs.apply
    worktree.create  # runs the project's start script and any startCommand
    worktree.remove  # and its branch
    worktree.reset  # reset --hard, clean -ffdx, then the start script

    v2.credential.remove v2.credential.update
    v2.integration.attempt.cancel v2.integration.attempt.complete
    v2.integration.connect.key  # deletes the integration's other credentials
    v2.integration.connect.oauth  # an attempt of mode auto stores the credential by itself
    v2.permission.saved.remove
    v2.projectCopy.create  # checks a worktree out, which runs the repository's git hooks
    v2.projectCopy.remove
    v2.pty.connect v2.pty.create v2.pty.remove  # as pty.*
    v2.session.compact  # always 503 in 1.18; would replace the context
    v2.session.interrupt
    v2.session.permission.reply  # as permission.reply; `always` is kept across restarts
    v2.session.prompt
    v2.session.question.reject v2.session.question.reply  # as question.*
    v2.session.revert.clear  # restores files over what they have become
    v2.session.revert.commit  # makes the revert final
    v2.session.revert.stage  # as session.revert
    v2.session.switchAgent  # brings its own permissions, also to a running session
    v2.session.switchModel  # after an unknown model, prompts get no answer and no error
""")
"""May lose or overwrite data, stop work, run commands or a model with tools, change credentials or configuration,
replace the program, or have an effect that cannot be undone."""

IDEMPOTENT = parse_operation_ids("""
    auth.remove auth.set
    experimental.console.switchOrg experimental.controlPlane.moveSession experimental.session.background
    experimental.workspace.remove experimental.workspace.syncList
    global.config.update  # disposes only when something changed; config.update does each time
    global.dispose instance.dispose
    mcp.auth.remove mcp.disconnect  # not mcp.connect: it restarts the server
    part.delete part.update
    permission.reply permission.respond  # the second answer is a 404
    project.initGit project.update
    pty.remove pty.update
    question.reject question.reply  # the second answer is a 404
    session.abort session.delete session.deleteMessage
    session.unrevert session.unshare  # not session.share: each call creates a share
    sync.replay  # known events are skipped
    sync.start sync.steal  # not session.update: its permission rules are appended
    tui.clearPrompt tui.openHelp tui.openModels tui.openSessions tui.openThemes tui.selectSession
    worktree.remove

    v2.credential.remove v2.credential.update
    v2.integration.attempt.cancel v2.integration.attempt.complete
    v2.permission.saved.remove
    v2.projectCopy.refresh v2.projectCopy.remove
    v2.pty.remove v2.pty.update
    v2.session.interrupt
    v2.session.permission.reply v2.session.question.reject v2.session.question.reply
    v2.session.revert.clear v2.session.revert.commit
    v2.session.switchModel  # not switchAgent: each call adds a message
""")
"""Operations of WRITES and DESTROYS whose immediate repetition has no further effect. Reads always are idempotent."""

OPEN_WORLD = parse_operation_ids("""
    command.list  # fetches prompts from MCP servers
    experimental.console.get experimental.console.listOrgs  # ask the console's service
    experimental.projectCopy.generateName
    experimental.resource.list  # asks the connected MCP servers
    experimental.workspace.create experimental.workspace.remove experimental.workspace.syncList
    experimental.workspace.warp  # a workspace may be on another machine
    global.upgrade
    mcp.add mcp.auth.authenticate mcp.auth.callback mcp.auth.start mcp.connect  # mcp.auth.remove is local
    permission.reply permission.respond  # let a command run
    provider.oauth.authorize provider.oauth.callback
    pty.connect pty.create
    question.reply  # lets a model continue
    session.command
    session.create  # publishes the session at once where `share` is configured as auto
    session.delete  # takes its publication down
    session.init session.prompt session.prompt_async
    session.share session.shell session.summarize session.unshare
    sync.start
    tui.executeCommand tui.publish tui.submitPrompt
    worktree.create worktree.reset

    v2.integration.attempt.complete v2.integration.connect.oauth  # connect.key only stores
    v2.pty.connect v2.pty.create
    v2.session.compact v2.session.permission.reply v2.session.prompt v2.session.question.reply
""")
"""Interact with the world outside of the server: a model, the network, a shell, an MCP server, a publication."""

UNAVAILABLE = parse_operation_ids("""
    experimental.session.background  # false, unless OpenCode has an experimental flag
    file.status find.symbols  # always []
    v2.session.compact v2.session.wait  # always 503
""")
"""Have no result in OpenCode 1.18, whatever the arguments: a search returns them last."""


UNBOUNDED = parse_operation_ids("""
    config.update global.config.update
    experimental.projectCopy.generateName
    session.command session.init session.prompt session.prompt_async session.summarize session.update
    sync.replay
    tui.control.response tui.executeCommand tui.publish tui.submitPrompt
    v2.session.compact v2.session.prompt v2.session.switchModel
""")
"""Call a model without a task, or change which model is called, or what limits a task."""

ANNOTATIONS = Annotations(
    reads=READS,
    writes=WRITES,
    destroys=DESTROYS,
    idempotent=IDEMPOTENT,
    open_world=OPEN_WORLD,
    unavailable=UNAVAILABLE,
    unbounded=UNBOUNDED,
)
