# shellcheck shell=bash disable=SC2034 # preview.sh sources this, and uses what is set here.
# What preview.sh asks of GitHub.
: "${REPOSITORY:?owner/name of the repository}"
authorization="Authorization: Bearer $PREVIEW_TOKEN"
repository="${GITHUB_API_URL:-https://api.github.com}/repos/$REPOSITORY"
comments="$repository/issues/$NUMBER/comments"

# open or closed
state() { ask "$repository/pulls/$NUMBER" | jq -r .state; }

is_private() { [[ $(ask "$repository" | jq -r .private) == true ]]; }

replace() { ask --request PATCH --data @- "$repository/issues/comments/$1"; }
