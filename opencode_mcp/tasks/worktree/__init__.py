"""git work for tasks: read a worktree, merge it into the project, remove it."""
