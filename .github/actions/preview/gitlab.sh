# What preview.sh asks of GitLab. Jobs have these variables.
: "${CI_API_V4_URL:?URL of the API}" "${CI_PROJECT_ID:?number of the project}"
authorization="PRIVATE-TOKEN: $PREVIEW_TOKEN"
project="$CI_API_V4_URL/projects/$CI_PROJECT_ID"

# open, closed, merged or locked
state() { ask "$project/merge_requests/$NUMBER" | jq -r '.state | sub("^opened$"; "open")'; }

is_private() { [[ $(ask "$project" | jq -r .visibility) == private ]]; }

# All of them, page by page.
list_comments() {
  local page=0 found
  while :; do
    page=$((page + 1))
    found=$(ask "$project/merge_requests/$NUMBER/notes?per_page=100&page=$page") || return
    jq -c '.[] | {id, body}' <<<"$found"
    [[ $(jq length <<<"$found") == 100 ]] || break
  done | jq -s .
}

write_comment() {
  case $1 in
    new) ask --request POST --data @- "$project/merge_requests/$NUMBER/notes" ;;
    *) ask --request PUT --data @- "$project/merge_requests/$NUMBER/notes/$1" ;;
  esac >/dev/null
}
