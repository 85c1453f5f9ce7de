
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'kubectl-connect' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'kubectl-connect'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'kubectl-connect' {
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'Context of the kubeconfig')
            [CompletionResult]::new('--cluster', '--cluster', [CompletionResultType]::ParameterName, 'Cluster of the kubeconfig')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User of the kubeconfig')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'User to impersonate')
            [CompletionResult]::new('--as-group', '--as-group', [CompletionResultType]::ParameterName, 'Group to impersonate; can be repeated')
            [CompletionResult]::new('--request-timeout', '--request-timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for one answer of the cluster, such as 5s or 1m')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('share', 'share', [CompletionResultType]::ParameterValue, 'Share the exposed services of a namespace with one code; list and revoke such shares')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show shares: their routes, who joined and when, and what they wait for')
            [CompletionResult]::new('extend', 'extend', [CompletionResultType]::ParameterValue, 'Let a share end later')
            [CompletionResult]::new('rotate', 'rotate', [CompletionResultType]::ParameterValue, 'Give a share a new code. The old one is refused, and everybody who joined with it is disconnected')
            [CompletionResult]::new('revoke', 'revoke', [CompletionResultType]::ParameterValue, 'End a share: its code is refused and open connections are cut')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'End a share and delete its object')
            [CompletionResult]::new('expose', 'expose', [CompletionResultType]::ParameterValue, 'Expose a port of a Service as a route that shares include')
            [CompletionResult]::new('unexpose', 'unexpose', [CompletionResultType]::ParameterValue, 'Remove a route from every share and cut its connections')
            [CompletionResult]::new('join', 'join', [CompletionResultType]::ParameterValue, 'Join a share: its routes become ports of this machine. Needs only the code, no cluster and no kubeconfig')
            [CompletionResult]::new('login', 'login', [CompletionResultType]::ParameterValue, 'Save an API key for a hub that requires an account')
            [CompletionResult]::new('logout', 'logout', [CompletionResultType]::ParameterValue, 'Delete the saved API key of a hub')
            [CompletionResult]::new('completion', 'completion', [CompletionResultType]::ParameterValue, 'Print the script that makes a shell, or kubectl itself, complete commands, flags and names')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Write the man pages to a folder')
            [CompletionResult]::new('doctor', 'doctor', [CompletionResultType]::ParameterValue, 'Check the cluster, your permissions, the operator, its hubs and the shares, and say how to fix what is wrong')
            [CompletionResult]::new('version', 'version', [CompletionResultType]::ParameterValue, 'Print the version of this plugin')
            break
        }
        'kubectl-connect;share' {
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Friendly name for the share')
            [CompletionResult]::new('--expires', '--expires', [CompletionResultType]::ParameterName, 'How long the share lives, such as 1h, 4h, 24h or 7d. Default: 24h')
            [CompletionResult]::new('--until', '--until', [CompletionResultType]::ParameterName, 'When the share ends, instead of --expires: 18:00, "tomorrow 18:00" or "2026-12-01 18:00" in local time, or with a zone')
            [CompletionResult]::new('--max-joins', '--max-joins', [CompletionResultType]::ParameterName, 'Refuse the code after so many joins. Default: no limit')
            [CompletionResult]::new('--encryption', '--encryption', [CompletionResultType]::ParameterName, 'Whether teammates must know the part of the code that no hub is told: verified, or preferred to let in programs that know only the rest. Default: verified, where the hub passes on what that needs')
            [CompletionResult]::new('--ttl', '--ttl', [CompletionResultType]::ParameterName, 'Delete the share so long after its end, such as 0s, 30m or 7d. Default: it stays')
            [CompletionResult]::new('--service', '--service', [CompletionResultType]::ParameterName, 'Share this Service without exposing it first; can be repeated. The port may be left out when there is only one')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Share the Services with these labels without exposing them first. With --list: the shares with these labels')
            [CompletionResult]::new('--selector', '--selector', [CompletionResultType]::ParameterName, 'Share the Services with these labels without exposing them first. With --list: the shares with these labels')
            [CompletionResult]::new('--hub', '--hub', [CompletionResultType]::ParameterName, 'Hub to use: its URL, or a Secret of type connect.privateconnect.co/hub. Default: the operator''s hub')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Config file whose hubUrl is used when --hub is not given')
            [CompletionResult]::new('--revoke', '--revoke', [CompletionResultType]::ParameterName, 'Revoke a share, named by its code or its name')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Change nothing: client shows what would be sent to the cluster, server asks the cluster whether it would accept it')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Form of the output. Default: for people')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the output. Default: for people')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for the operator, such as 30s or 2m. Default: 60s, for expose 10s')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Wait for the operator')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'Context of the kubeconfig')
            [CompletionResult]::new('--cluster', '--cluster', [CompletionResultType]::ParameterName, 'Cluster of the kubeconfig')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User of the kubeconfig')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'User to impersonate')
            [CompletionResult]::new('--as-group', '--as-group', [CompletionResultType]::ParameterName, 'Group to impersonate; can be repeated')
            [CompletionResult]::new('--request-timeout', '--request-timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for one answer of the cluster, such as 5s or 1m')
            [CompletionResult]::new('--list', '--list', [CompletionResultType]::ParameterName, 'List the shares that have not ended')
            [CompletionResult]::new('-A', '-A ', [CompletionResultType]::ParameterName, 'With --list: the shares of all namespaces')
            [CompletionResult]::new('--all-namespaces', '--all-namespaces', [CompletionResultType]::ParameterName, 'With --list: the shares of all namespaces')
            [CompletionResult]::new('-w', '-w', [CompletionResultType]::ParameterName, 'With --list: keep showing changes')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'With --list: keep showing changes')
            [CompletionResult]::new('--show-code', '--show-code', [CompletionResultType]::ParameterName, 'With -o md: include the code. Everybody who reads the page can then join')
            [CompletionResult]::new('--no-wait', '--no-wait', [CompletionResultType]::ParameterName, 'Return as soon as the cluster has stored the change: the same as --wait=false')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kubectl-connect;status' {
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'The shares with these labels')
            [CompletionResult]::new('--selector', '--selector', [CompletionResultType]::ParameterName, 'The shares with these labels')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Form of the output. Default: for people')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the output. Default: for people')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'Context of the kubeconfig')
            [CompletionResult]::new('--cluster', '--cluster', [CompletionResultType]::ParameterName, 'Cluster of the kubeconfig')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User of the kubeconfig')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'User to impersonate')
            [CompletionResult]::new('--as-group', '--as-group', [CompletionResultType]::ParameterName, 'Group to impersonate; can be repeated')
            [CompletionResult]::new('--request-timeout', '--request-timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for one answer of the cluster, such as 5s or 1m')
            [CompletionResult]::new('-A', '-A ', [CompletionResultType]::ParameterName, 'The shares of all namespaces')
            [CompletionResult]::new('--all-namespaces', '--all-namespaces', [CompletionResultType]::ParameterName, 'The shares of all namespaces')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'Also the shares that have ended; JSON, YAML and names always have them')
            [CompletionResult]::new('-w', '-w', [CompletionResultType]::ParameterName, 'Keep showing changes')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Keep showing changes')
            [CompletionResult]::new('--show-code', '--show-code', [CompletionResultType]::ParameterName, 'With -o md: include the code. Everybody who reads the page can then join')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kubectl-connect;extend' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for the operator, such as 30s or 2m. Default: 60s, for expose 10s')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Wait for the operator')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'Context of the kubeconfig')
            [CompletionResult]::new('--cluster', '--cluster', [CompletionResultType]::ParameterName, 'Cluster of the kubeconfig')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User of the kubeconfig')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'User to impersonate')
            [CompletionResult]::new('--as-group', '--as-group', [CompletionResultType]::ParameterName, 'Group to impersonate; can be repeated')
            [CompletionResult]::new('--request-timeout', '--request-timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for one answer of the cluster, such as 5s or 1m')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Change it although Argo CD or Flux manages it and may revert the change')
            [CompletionResult]::new('--no-wait', '--no-wait', [CompletionResultType]::ParameterName, 'Return as soon as the cluster has stored the change: the same as --wait=false')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kubectl-connect;rotate' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Form of the output. Default: for people')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the output. Default: for people')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for the operator, such as 30s or 2m. Default: 60s, for expose 10s')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Wait for the operator')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'Context of the kubeconfig')
            [CompletionResult]::new('--cluster', '--cluster', [CompletionResultType]::ParameterName, 'Cluster of the kubeconfig')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User of the kubeconfig')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'User to impersonate')
            [CompletionResult]::new('--as-group', '--as-group', [CompletionResultType]::ParameterName, 'Group to impersonate; can be repeated')
            [CompletionResult]::new('--request-timeout', '--request-timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for one answer of the cluster, such as 5s or 1m')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Change it although Argo CD or Flux manages it and may revert the change')
            [CompletionResult]::new('--show-code', '--show-code', [CompletionResultType]::ParameterName, 'With -o md: include the code. Everybody who reads the page can then join')
            [CompletionResult]::new('--no-wait', '--no-wait', [CompletionResultType]::ParameterName, 'Return as soon as the cluster has stored the change: the same as --wait=false')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kubectl-connect;revoke' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for the operator, such as 30s or 2m. Default: 60s, for expose 10s')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Wait for the operator')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'Context of the kubeconfig')
            [CompletionResult]::new('--cluster', '--cluster', [CompletionResultType]::ParameterName, 'Cluster of the kubeconfig')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User of the kubeconfig')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'User to impersonate')
            [CompletionResult]::new('--as-group', '--as-group', [CompletionResultType]::ParameterName, 'Group to impersonate; can be repeated')
            [CompletionResult]::new('--request-timeout', '--request-timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for one answer of the cluster, such as 5s or 1m')
            [CompletionResult]::new('--no-wait', '--no-wait', [CompletionResultType]::ParameterName, 'Return as soon as the cluster has stored the change: the same as --wait=false')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kubectl-connect;delete' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for the operator, such as 30s or 2m. Default: 60s, for expose 10s')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Wait for the operator')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'Context of the kubeconfig')
            [CompletionResult]::new('--cluster', '--cluster', [CompletionResultType]::ParameterName, 'Cluster of the kubeconfig')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User of the kubeconfig')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'User to impersonate')
            [CompletionResult]::new('--as-group', '--as-group', [CompletionResultType]::ParameterName, 'Group to impersonate; can be repeated')
            [CompletionResult]::new('--request-timeout', '--request-timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for one answer of the cluster, such as 5s or 1m')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Delete it although Argo CD or Flux manages it and may create it again')
            [CompletionResult]::new('--no-wait', '--no-wait', [CompletionResultType]::ParameterName, 'Return as soon as the cluster has stored the change: the same as --wait=false')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kubectl-connect;expose' {
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Name of the route as teammates see it. Default: the Service''s name')
            [CompletionResult]::new('--local-port', '--local-port', [CompletionResultType]::ParameterName, 'Port suggested for the teammate''s machine. Default: the Service''s port')
            [CompletionResult]::new('--protocol', '--protocol', [CompletionResultType]::ParameterName, 'What is spoken on the port. Default: what the Service says of it (appProtocol, names, port 80 or 443), else auto')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Change nothing: client shows what would be sent to the cluster, server asks the cluster whether it would accept it')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Form of the output. Default: for people')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the output. Default: for people')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for the operator, such as 30s or 2m. Default: 60s, for expose 10s')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Wait for the operator')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'Context of the kubeconfig')
            [CompletionResult]::new('--cluster', '--cluster', [CompletionResultType]::ParameterName, 'Cluster of the kubeconfig')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User of the kubeconfig')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'User to impersonate')
            [CompletionResult]::new('--as-group', '--as-group', [CompletionResultType]::ParameterName, 'Group to impersonate; can be repeated')
            [CompletionResult]::new('--request-timeout', '--request-timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for one answer of the cluster, such as 5s or 1m')
            [CompletionResult]::new('--public', '--public', [CompletionResultType]::ParameterName, 'Ask the hub for a public URL. Everybody on the internet can then read from the route')
            [CompletionResult]::new('--no-wait', '--no-wait', [CompletionResultType]::ParameterName, 'Return as soon as the cluster has stored the change: the same as --wait=false')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kubectl-connect;unexpose' {
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Change nothing: client shows what would be sent to the cluster, server asks the cluster whether it would accept it')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Form of the output. Default: for people')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the output. Default: for people')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for the operator, such as 30s or 2m. Default: 60s, for expose 10s')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Wait for the operator')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'Context of the kubeconfig')
            [CompletionResult]::new('--cluster', '--cluster', [CompletionResultType]::ParameterName, 'Cluster of the kubeconfig')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User of the kubeconfig')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'User to impersonate')
            [CompletionResult]::new('--as-group', '--as-group', [CompletionResultType]::ParameterName, 'Group to impersonate; can be repeated')
            [CompletionResult]::new('--request-timeout', '--request-timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for one answer of the cluster, such as 5s or 1m')
            [CompletionResult]::new('--no-wait', '--no-wait', [CompletionResultType]::ParameterName, 'Return as soon as the cluster has stored the change: the same as --wait=false')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kubectl-connect;join' {
            [CompletionResult]::new('--code-file', '--code-file', [CompletionResultType]::ParameterName, 'File with the share code')
            [CompletionResult]::new('--hub', '--hub', [CompletionResultType]::ParameterName, 'Hub to use. Default: $CONNECT_HUB_URL, else the config file''s, else https://hub.privateconnect.co')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Config file. Default: ~/.config/kubectl-connect/config.json, and the connect tool''s ~/.private-connect/config.json')
            [CompletionResult]::new('--hub-ca-file', '--hub-ca-file', [CompletionResultType]::ParameterName, 'File with PEM certificates of a private CA that signed the hub''s certificate')
            [CompletionResult]::new('--api-key-file', '--api-key-file', [CompletionResultType]::ParameterName, 'File with an API key, for hubs that require an account. Default: $CONNECT_API_KEY, else what login keeps for the hub')
            [CompletionResult]::new('--label', '--label', [CompletionResultType]::ParameterName, 'What this machine is called in the share''s list of joins. Default: user@host')
            [CompletionResult]::new('--address', '--address', [CompletionResultType]::ParameterName, 'Address to listen on; can be repeated. Default: localhost')
            [CompletionResult]::new('--port', '--port', [CompletionResultType]::ParameterName, 'Local port for a route, such as postgres=15432; can be repeated')
            [CompletionResult]::new('--only', '--only', [CompletionResultType]::ParameterName, 'Join this route and no other; can be repeated. Default: all routes')
            [CompletionResult]::new('--service', '--service', [CompletionResultType]::ParameterName, 'With --through-cluster: the hub''s Service. Default: the one that --hub names, else private-connect-hub in namespace private-connect')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'Context of the kubeconfig')
            [CompletionResult]::new('--cluster', '--cluster', [CompletionResultType]::ParameterName, 'Cluster of the kubeconfig')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User of the kubeconfig')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'User to impersonate')
            [CompletionResult]::new('--as-group', '--as-group', [CompletionResultType]::ParameterName, 'Group to impersonate; can be repeated')
            [CompletionResult]::new('--request-timeout', '--request-timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for one answer of the cluster, such as 5s or 1m')
            [CompletionResult]::new('--allow-insecure-hub', '--allow-insecure-hub', [CompletionResultType]::ParameterName, 'Allow http to a hub on another machine. Code, key and all bytes then cross the network in clear text')
            [CompletionResult]::new('--through-cluster', '--through-cluster', [CompletionResultType]::ParameterName, 'Go to a hub inside a cluster through the cluster''s API server, which is slower. Needs permission to forward ports')
            [CompletionResult]::new('--print-env', '--print-env', [CompletionResultType]::ParameterName, 'Print NAME=value lines for the routes to stdout and everything else to stderr, and stay')
            [CompletionResult]::new('--exec', '--exec', [CompletionResultType]::ParameterName, 'Run the command that follows -- while joined. The same as leaving this word out')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kubectl-connect;login' {
            [CompletionResult]::new('--hub', '--hub', [CompletionResultType]::ParameterName, 'Hub to use. Default: $CONNECT_HUB_URL, else the config file''s, else https://hub.privateconnect.co')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Config file. Default: ~/.config/kubectl-connect/config.json, and the connect tool''s ~/.private-connect/config.json')
            [CompletionResult]::new('--hub-ca-file', '--hub-ca-file', [CompletionResultType]::ParameterName, 'File with PEM certificates of a private CA that signed the hub''s certificate')
            [CompletionResult]::new('--api-key-file', '--api-key-file', [CompletionResultType]::ParameterName, 'Read the API key from a file')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'Context of the kubeconfig')
            [CompletionResult]::new('--cluster', '--cluster', [CompletionResultType]::ParameterName, 'Cluster of the kubeconfig')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User of the kubeconfig')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'User to impersonate')
            [CompletionResult]::new('--as-group', '--as-group', [CompletionResultType]::ParameterName, 'Group to impersonate; can be repeated')
            [CompletionResult]::new('--request-timeout', '--request-timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for one answer of the cluster, such as 5s or 1m')
            [CompletionResult]::new('--allow-insecure-hub', '--allow-insecure-hub', [CompletionResultType]::ParameterName, 'Allow http to a hub on another machine. Code, key and all bytes then cross the network in clear text')
            [CompletionResult]::new('--api-key-stdin', '--api-key-stdin', [CompletionResultType]::ParameterName, 'Read the API key from stdin')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kubectl-connect;logout' {
            [CompletionResult]::new('--hub', '--hub', [CompletionResultType]::ParameterName, 'Hub to use. Default: $CONNECT_HUB_URL, else the config file''s, else https://hub.privateconnect.co')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Config file. Default: ~/.config/kubectl-connect/config.json, and the connect tool''s ~/.private-connect/config.json')
            [CompletionResult]::new('--hub-ca-file', '--hub-ca-file', [CompletionResultType]::ParameterName, 'File with PEM certificates of a private CA that signed the hub''s certificate')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'Context of the kubeconfig')
            [CompletionResult]::new('--cluster', '--cluster', [CompletionResultType]::ParameterName, 'Cluster of the kubeconfig')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User of the kubeconfig')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'User to impersonate')
            [CompletionResult]::new('--as-group', '--as-group', [CompletionResultType]::ParameterName, 'Group to impersonate; can be repeated')
            [CompletionResult]::new('--request-timeout', '--request-timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for one answer of the cluster, such as 5s or 1m')
            [CompletionResult]::new('--allow-insecure-hub', '--allow-insecure-hub', [CompletionResultType]::ParameterName, 'Allow http to a hub on another machine. Code, key and all bytes then cross the network in clear text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kubectl-connect;completion' {
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'Context of the kubeconfig')
            [CompletionResult]::new('--cluster', '--cluster', [CompletionResultType]::ParameterName, 'Cluster of the kubeconfig')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User of the kubeconfig')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'User to impersonate')
            [CompletionResult]::new('--as-group', '--as-group', [CompletionResultType]::ParameterName, 'Group to impersonate; can be repeated')
            [CompletionResult]::new('--request-timeout', '--request-timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for one answer of the cluster, such as 5s or 1m')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kubectl-connect;man' {
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'Context of the kubeconfig')
            [CompletionResult]::new('--cluster', '--cluster', [CompletionResultType]::ParameterName, 'Cluster of the kubeconfig')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User of the kubeconfig')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'User to impersonate')
            [CompletionResult]::new('--as-group', '--as-group', [CompletionResultType]::ParameterName, 'Group to impersonate; can be repeated')
            [CompletionResult]::new('--request-timeout', '--request-timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for one answer of the cluster, such as 5s or 1m')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kubectl-connect;doctor' {
            [CompletionResult]::new('--operator-namespace', '--operator-namespace', [CompletionResultType]::ParameterName, 'Namespace in which the operator runs')
            [CompletionResult]::new('--hub', '--hub', [CompletionResultType]::ParameterName, 'A hub to check besides those that the cluster speaks of')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Form of the output. Default: for people')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the output. Default: for people')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'Context of the kubeconfig')
            [CompletionResult]::new('--cluster', '--cluster', [CompletionResultType]::ParameterName, 'Cluster of the kubeconfig')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User of the kubeconfig')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'User to impersonate')
            [CompletionResult]::new('--as-group', '--as-group', [CompletionResultType]::ParameterName, 'Group to impersonate; can be repeated')
            [CompletionResult]::new('--request-timeout', '--request-timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for one answer of the cluster, such as 5s or 1m')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kubectl-connect;version' {
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace. Default: that of the kubeconfig''s context')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'Context of the kubeconfig')
            [CompletionResult]::new('--cluster', '--cluster', [CompletionResultType]::ParameterName, 'Cluster of the kubeconfig')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User of the kubeconfig')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config')
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'User to impersonate')
            [CompletionResult]::new('--as-group', '--as-group', [CompletionResultType]::ParameterName, 'Group to impersonate; can be repeated')
            [CompletionResult]::new('--request-timeout', '--request-timeout', [CompletionResultType]::ParameterName, 'Longest time to wait for one answer of the cluster, such as 5s or 1m')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
