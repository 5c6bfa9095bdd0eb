"""The annotations of OpenCode 2, by what its document says. A comment gives the reason for a surprising entry."""

from __future__ import annotations

from opencode_mcp.catalog.annotations import Annotations, parse_operation_ids

READS = parse_operation_ids("""
    agent.get agent.list command.list config.get config.shells
    credential.list  # with secrets, which are redacted
    debug.location.list
    event.subscribe
    experimental.migration.v1.status
    experimental.session.export experimental.session.instructions.entry.list experimental.session.stats
    experimental.session.wait  # a POST that only waits
    form.list fs.find fs.list fs.read
    integration.command.status integration.get integration.list integration.oauth.status
    location.get mcp.list mcp.resource.catalog model.default model.list
    permission.request.list permission.saved.list plugin.list project.list provider.get provider.list
    pty.get pty.list reference.list
    server.experimental.persistentPty.get server.experimental.persistentPty.list
    server.experimental.persistentPty.read server.experimental.persistentPty.snapshot
    server.info
    session.active session.context session.diff session.form.get session.form.list session.get session.inbox.list
    session.list session.log session.message.get session.message.list
    session.permission.get session.permission.list
    shell.get shell.list shell.output skill.list
    vcs.base vcs.branch.list vcs.diff vcs.get vcs.status  # git runs the filters that the repository's config names
    websearch.providers worktree.list
""")

WRITES = parse_operation_ids("""
    experimental.generate.text session.generate  # store nothing, but send text to a model, which costs
    experimental.voice.session  # as these
    plugin.check  # asks the package registry, and notes what is outdated
    pty.connect.token server.experimental.persistentPty.connectToken  # the ticket opens a shell elsewhere
    pty.update  # title and size
    server.experimental.persistentPty.update  # size
    session.background session.create session.fork session.form.create
    session.permission.create  # only creates the request; session.permission.reply decides
    session.view
    websearch.query  # sends the query to a provider
    worktree.refresh  # discovers
""")

DESTROYS = parse_operation_ids("""
    credential.activate  # the credential that is used from then on
    credential.create credential.remove credential.update
    debug.location.evict  # as location.reload, for one directory
    experimental.config.update  # the user's configuration
    experimental.fs.write  # anywhere on the disk
    experimental.integration.wellknown.add  # adds a source of configuration
    experimental.mcp.add experimental.mcp.connect  # run any command
    experimental.mcp.disconnect experimental.mcp.remove  # take tools from running sessions
    experimental.session.import  # whether it replaces a session with the same id is not documented
    experimental.session.instructions.entry.put experimental.session.instructions.entry.remove
    experimental.session.skill  # wakes the session
    integration.command.cancel integration.command.connect  # runs a command, which stores a credential
    integration.connect.external integration.connect.key
    integration.oauth.cancel integration.oauth.complete
    integration.oauth.connect  # an attempt of mode auto stores the credential by itself
    location.reload  # rejects the pending permissions and cancels the forms of every directory
    permission.saved.remove permission.saved.update
    plugin.update  # installs packages
    project.update  # overwrites also the script that new worktrees run
    pty.create  # runs any command
    pty.remove
    rpc.call  # whatever a plugin offers
    server.connect  # a GET that uses up a code and hands out access to the server
    server.experimental.persistentPty.create  # runs any command
    server.experimental.persistentPty.handoff  # to another process
    server.experimental.persistentPty.remove server.experimental.persistentPty.shutdown
    server.pair  # the code gives access to the server
    session.command session.prompt session.shell  # a model with tools, or a shell
    session.compact  # the summary replaces the context
    session.environment  # decides which programs later commands run
    session.form.cancel  # without a message it ends the turn
    session.form.reply  # a model with tools continues from the answer
    session.inbox.cancel
    session.inbox.update  # may wake the session
    session.interrupt
    session.move  # works elsewhere from then on
    session.permission.reply  # an approval lets the command run; `always` is kept, for the whole project
    session.remove  # its children too
    session.revert.clear session.revert.stage  # restore files over what they have become
    session.revert.commit  # makes the revert final
    session.switchAgent  # brings its own permissions, also to a running session
    session.switchModel  # after an unknown model, prompts fail
    session.synthetic  # wakes the session
    session.update  # also replaces permission rules, so that later commands run unasked
    shell.create  # runs any command, unasked
    shell.remove
    vcs.init  # reloads the directory
    worktree.create  # runs the project's start script
    worktree.remove
""")

IDEMPOTENT = parse_operation_ids("""
    credential.activate credential.remove credential.update
    debug.location.evict experimental.config.update experimental.fs.write experimental.integration.wellknown.add
    experimental.mcp.disconnect experimental.mcp.remove
    experimental.session.instructions.entry.put experimental.session.instructions.entry.remove
    integration.command.cancel integration.oauth.cancel
    integration.oauth.complete  # the second one fails
    location.reload permission.saved.remove permission.saved.update plugin.check plugin.update project.update
    pty.remove pty.update
    server.experimental.persistentPty.remove server.experimental.persistentPty.shutdown
    server.experimental.persistentPty.update
    session.background session.environment session.form.cancel session.form.reply session.inbox.cancel
    session.inbox.update session.interrupt
    session.permission.reply  # the second answer is a 404
    session.remove session.revert.clear session.revert.commit
    session.update  # not switchAgent and switchModel: each call adds a message
    session.view shell.remove vcs.init worktree.refresh worktree.remove
""")

OPEN_WORLD = parse_operation_ids("""
    command.list  # may fetch prompts from MCP servers
    experimental.generate.text experimental.voice.session session.generate
    experimental.integration.wellknown.add
    experimental.mcp.add experimental.mcp.connect
    experimental.session.skill
    integration.command.connect integration.connect.external integration.oauth.complete integration.oauth.connect
    mcp.resource.catalog  # asks the connected MCP servers
    plugin.check plugin.update
    pty.create server.experimental.persistentPty.create shell.create
    rpc.call
    session.command session.compact session.form.reply session.inbox.update session.permission.reply session.prompt
    session.shell session.synthetic
    websearch.query
    worktree.create worktree.refresh
""")

UNBOUNDED = parse_operation_ids("""
    experimental.fs.write  # also the configuration, which chooses the model
    experimental.generate.text experimental.voice.session
    experimental.session.import session.update  # metadata, which limits a task
    experimental.session.skill session.command session.compact session.generate session.prompt session.synthetic
    rpc.call  # whatever a plugin does
    session.inbox.update  # may wake the session
    session.switchAgent session.switchModel  # an agent can have its own model
""")

ANNOTATIONS = Annotations(
    reads=READS,
    writes=WRITES,
    destroys=DESTROYS,
    idempotent=IDEMPOTENT,
    open_world=OPEN_WORLD,
    unbounded=UNBOUNDED,
)
