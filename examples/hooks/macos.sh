#!/bin/sh
# A notification on macOS. Needs jq, which macOS has since version 15.
#   opencode-mcp --on-event 'sh /path/to/macos.sh'
set -eu
event=$(cat)
field() { printf '%s' "$event" | jq -r "$1"; }

# The texts are arguments of the script, never a part of it.
exec osascript - "$(field '.title')" "$(field '"\(.state): \(.message)"')" <<'SCRIPT'
on run argv
  display notification (item 2 of argv) with title "OpenCode" subtitle (item 1 of argv)
end run
SCRIPT
