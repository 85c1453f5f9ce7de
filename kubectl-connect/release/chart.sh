#!/usr/bin/env bash
# chart.sh CHART IMAGE FOLDER: packages a chart of charts/ as a release publishes it, with the name of the image that was pushed.
set -euo pipefail
chart=${1:?name of the chart} image=${2:?name of the image} folder=${3:?folder for the package}
charts=$(dirname "${BASH_SOURCE[0]}")/../../charts
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp -R "$charts/$chart" "$work/"
if [[ $chart == private-connect ]]; then
  sed -i "s|^  repository: private-connect\$|  repository: $image|" "$work/$chart/values.yaml"
  sed -i "s|^      image: private-connect:|      image: $image:|" "$work/$chart/Chart.yaml"
fi
mkdir -p "$folder"
helm package "$work/$chart" --destination "$folder"
