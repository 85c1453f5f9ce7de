# shellcheck shell=bash disable=SC2034 # preview.sh sources this, and uses what is set here.
# What preview.sh asks of GitLab. Jobs have these variables.
: "${CI_API_V4_URL:?URL of the API}" "${CI_PROJECT_ID:?number of the project}"
authorization="PRIVATE-TOKEN: $PREVIEW_TOKEN"
project="$CI_API_V4_URL/projects/$CI_PROJECT_ID"
comments="$project/merge_requests/$NUMBER/notes"

# open, closed, merged or locked
state() { ask "$project/merge_requests/$NUMBER" | jq -r '.state | sub("^opened$"; "open")'; }

is_private() { [[ $(ask "$project" | jq -r .visibility) == private ]]; }

replace() { ask --request PUT --data @- "$comments/$1"; }
