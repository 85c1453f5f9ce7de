# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_kubectl_connect_global_optspecs
    string join \n n/namespace= context= cluster= user= kubeconfig= as= as-group= request-timeout= h/help V/version
end

function __fish_kubectl_connect_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_kubectl_connect_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_kubectl_connect_using_subcommand
    set -l cmd (__fish_kubectl_connect_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -s n -l namespace -d 'Namespace. Default: that of the kubeconfig\'s context' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -l context -d 'Context of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -l cluster -d 'Cluster of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -l user -d 'User of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -l kubeconfig -d 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -l as -d 'User to impersonate' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -l as-group -d 'Group to impersonate; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -l request-timeout -d 'Longest time to wait for one answer of the cluster, such as 5s or 1m' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -s h -l help -d 'Print help'
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -s V -l version -d 'Print version'
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -f -a "share" -d 'Share the exposed services of a namespace with one code; list and revoke such shares'
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -f -a "status" -d 'Show shares: their routes, who joined and when, and what they wait for'
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -f -a "extend" -d 'Let a share end later'
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -f -a "rotate" -d 'Give a share a new code. The old one is refused, and everybody who joined with it is disconnected'
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -f -a "revoke" -d 'End a share: its code is refused and open connections are cut'
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -f -a "delete" -d 'End a share and delete its object'
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -f -a "expose" -d 'Expose a port of a Service as a route that shares include'
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -f -a "unexpose" -d 'Remove a route from every share and cut its connections'
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -f -a "join" -d 'Join a share: its routes become ports of this machine. Needs only the code, no cluster and no kubeconfig'
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -f -a "login" -d 'Save an API key for a hub that requires an account'
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -f -a "logout" -d 'Delete the saved API key of a hub'
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -f -a "completion" -d 'Print the script that makes a shell, or kubectl itself, complete commands, flags and names'
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -f -a "man" -d 'Write the man pages to a folder'
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -f -a "doctor" -d 'Check the cluster, your permissions, the operator, its hubs and the shares, and say how to fix what is wrong'
complete -c kubectl-connect -n "__fish_kubectl_connect_needs_command" -f -a "version" -d 'Print the version of this plugin'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l name -d 'Friendly name for the share' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l expires -d 'How long the share lives, such as 1h, 4h, 24h or 7d. Default: 24h' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l until -d 'When the share ends, instead of --expires: 18:00, "tomorrow 18:00" or "2026-12-01 18:00" in local time, or with a zone' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l max-joins -d 'Refuse the code after so many joins. Default: no limit' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l encryption -d 'Whether teammates must know the part of the code that no hub is told: verified, or preferred to let in programs that know only the rest. Default: verified, where the hub passes on what that needs' -r -f -a "verified\t''
preferred\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l ttl -d 'Delete the share so long after its end, such as 0s, 30m or 7d. Default: it stays' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l service -d 'Share this Service without exposing it first; can be repeated. The port may be left out when there is only one' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -s l -l selector -d 'Share the Services with these labels without exposing them first. With --list: the shares with these labels' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l hub -d 'Hub to use: its URL, or a Secret of type connect.privateconnect.co/hub. Default: the operator\'s hub' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l config -d 'Config file whose hubUrl is used when --hub is not given' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l revoke -d 'Revoke a share, named by its code or its name' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l dry-run -d 'Change nothing: client shows what would be sent to the cluster, server asks the cluster whether it would accept it' -r -f -a "none\t''
client\t''
server\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -s o -l output -d 'Form of the output. Default: for people' -r -f -a "json\t''
yaml\t''
name\t''
wide\t''
md\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l timeout -d 'Longest time to wait for the operator, such as 30s or 2m. Default: 60s, for expose 10s' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l wait -d 'Wait for the operator' -r -f -a "true\t''
false\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -s n -l namespace -d 'Namespace. Default: that of the kubeconfig\'s context' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l context -d 'Context of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l cluster -d 'Cluster of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l user -d 'User of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l kubeconfig -d 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l as -d 'User to impersonate' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l as-group -d 'Group to impersonate; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l request-timeout -d 'Longest time to wait for one answer of the cluster, such as 5s or 1m' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l list -d 'List the shares that have not ended'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -s A -l all-namespaces -d 'With --list: the shares of all namespaces'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -s w -l watch -d 'With --list: keep showing changes'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l show-code -d 'With -o md: include the code. Everybody who reads the page can then join'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -l no-wait -d 'Return as soon as the cluster has stored the change: the same as --wait=false'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand share" -s h -l help -d 'Print help'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand status" -s l -l selector -d 'The shares with these labels' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand status" -s o -l output -d 'Form of the output. Default: for people' -r -f -a "json\t''
yaml\t''
name\t''
wide\t''
md\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand status" -s n -l namespace -d 'Namespace. Default: that of the kubeconfig\'s context' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand status" -l context -d 'Context of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand status" -l cluster -d 'Cluster of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand status" -l user -d 'User of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand status" -l kubeconfig -d 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand status" -l as -d 'User to impersonate' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand status" -l as-group -d 'Group to impersonate; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand status" -l request-timeout -d 'Longest time to wait for one answer of the cluster, such as 5s or 1m' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand status" -s A -l all-namespaces -d 'The shares of all namespaces'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand status" -l all -d 'Also the shares that have ended; JSON, YAML and names always have them'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand status" -s w -l watch -d 'Keep showing changes'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand status" -l show-code -d 'With -o md: include the code. Everybody who reads the page can then join'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand status" -s h -l help -d 'Print help'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand extend" -l timeout -d 'Longest time to wait for the operator, such as 30s or 2m. Default: 60s, for expose 10s' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand extend" -l wait -d 'Wait for the operator' -r -f -a "true\t''
false\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand extend" -s n -l namespace -d 'Namespace. Default: that of the kubeconfig\'s context' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand extend" -l context -d 'Context of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand extend" -l cluster -d 'Cluster of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand extend" -l user -d 'User of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand extend" -l kubeconfig -d 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand extend" -l as -d 'User to impersonate' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand extend" -l as-group -d 'Group to impersonate; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand extend" -l request-timeout -d 'Longest time to wait for one answer of the cluster, such as 5s or 1m' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand extend" -l force -d 'Change it although Argo CD or Flux manages it and may revert the change'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand extend" -l no-wait -d 'Return as soon as the cluster has stored the change: the same as --wait=false'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand extend" -s h -l help -d 'Print help'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand rotate" -s o -l output -d 'Form of the output. Default: for people' -r -f -a "json\t''
yaml\t''
name\t''
wide\t''
md\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand rotate" -l timeout -d 'Longest time to wait for the operator, such as 30s or 2m. Default: 60s, for expose 10s' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand rotate" -l wait -d 'Wait for the operator' -r -f -a "true\t''
false\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand rotate" -s n -l namespace -d 'Namespace. Default: that of the kubeconfig\'s context' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand rotate" -l context -d 'Context of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand rotate" -l cluster -d 'Cluster of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand rotate" -l user -d 'User of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand rotate" -l kubeconfig -d 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand rotate" -l as -d 'User to impersonate' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand rotate" -l as-group -d 'Group to impersonate; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand rotate" -l request-timeout -d 'Longest time to wait for one answer of the cluster, such as 5s or 1m' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand rotate" -l force -d 'Change it although Argo CD or Flux manages it and may revert the change'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand rotate" -l show-code -d 'With -o md: include the code. Everybody who reads the page can then join'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand rotate" -l no-wait -d 'Return as soon as the cluster has stored the change: the same as --wait=false'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand rotate" -s h -l help -d 'Print help'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand revoke" -l timeout -d 'Longest time to wait for the operator, such as 30s or 2m. Default: 60s, for expose 10s' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand revoke" -l wait -d 'Wait for the operator' -r -f -a "true\t''
false\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand revoke" -s n -l namespace -d 'Namespace. Default: that of the kubeconfig\'s context' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand revoke" -l context -d 'Context of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand revoke" -l cluster -d 'Cluster of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand revoke" -l user -d 'User of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand revoke" -l kubeconfig -d 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand revoke" -l as -d 'User to impersonate' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand revoke" -l as-group -d 'Group to impersonate; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand revoke" -l request-timeout -d 'Longest time to wait for one answer of the cluster, such as 5s or 1m' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand revoke" -l no-wait -d 'Return as soon as the cluster has stored the change: the same as --wait=false'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand revoke" -s h -l help -d 'Print help'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand delete" -l timeout -d 'Longest time to wait for the operator, such as 30s or 2m. Default: 60s, for expose 10s' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand delete" -l wait -d 'Wait for the operator' -r -f -a "true\t''
false\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand delete" -s n -l namespace -d 'Namespace. Default: that of the kubeconfig\'s context' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand delete" -l context -d 'Context of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand delete" -l cluster -d 'Cluster of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand delete" -l user -d 'User of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand delete" -l kubeconfig -d 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand delete" -l as -d 'User to impersonate' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand delete" -l as-group -d 'Group to impersonate; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand delete" -l request-timeout -d 'Longest time to wait for one answer of the cluster, such as 5s or 1m' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand delete" -l force -d 'Delete it although Argo CD or Flux manages it and may create it again'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand delete" -l no-wait -d 'Return as soon as the cluster has stored the change: the same as --wait=false'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand delete" -s h -l help -d 'Print help'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -l name -d 'Name of the route as teammates see it. Default: the Service\'s name' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -l local-port -d 'Port suggested for the teammate\'s machine. Default: the Service\'s port' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -l protocol -d 'What is spoken on the port. Default: what the Service says of it (appProtocol, names, port 80 or 443), else auto' -r -f -a "auto\t''
tcp\t''
http\t''
https\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -l dry-run -d 'Change nothing: client shows what would be sent to the cluster, server asks the cluster whether it would accept it' -r -f -a "none\t''
client\t''
server\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -s o -l output -d 'Form of the output. Default: for people' -r -f -a "json\t''
yaml\t''
name\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -l timeout -d 'Longest time to wait for the operator, such as 30s or 2m. Default: 60s, for expose 10s' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -l wait -d 'Wait for the operator' -r -f -a "true\t''
false\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -s n -l namespace -d 'Namespace. Default: that of the kubeconfig\'s context' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -l context -d 'Context of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -l cluster -d 'Cluster of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -l user -d 'User of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -l kubeconfig -d 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -l as -d 'User to impersonate' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -l as-group -d 'Group to impersonate; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -l request-timeout -d 'Longest time to wait for one answer of the cluster, such as 5s or 1m' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -l public -d 'Ask the hub for a public URL. Everybody on the internet can then read from the route'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -l no-wait -d 'Return as soon as the cluster has stored the change: the same as --wait=false'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand expose" -s h -l help -d 'Print help'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand unexpose" -l dry-run -d 'Change nothing: client shows what would be sent to the cluster, server asks the cluster whether it would accept it' -r -f -a "none\t''
client\t''
server\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand unexpose" -s o -l output -d 'Form of the output. Default: for people' -r -f -a "json\t''
yaml\t''
name\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand unexpose" -l timeout -d 'Longest time to wait for the operator, such as 30s or 2m. Default: 60s, for expose 10s' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand unexpose" -l wait -d 'Wait for the operator' -r -f -a "true\t''
false\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand unexpose" -s n -l namespace -d 'Namespace. Default: that of the kubeconfig\'s context' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand unexpose" -l context -d 'Context of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand unexpose" -l cluster -d 'Cluster of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand unexpose" -l user -d 'User of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand unexpose" -l kubeconfig -d 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand unexpose" -l as -d 'User to impersonate' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand unexpose" -l as-group -d 'Group to impersonate; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand unexpose" -l request-timeout -d 'Longest time to wait for one answer of the cluster, such as 5s or 1m' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand unexpose" -l no-wait -d 'Return as soon as the cluster has stored the change: the same as --wait=false'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand unexpose" -s h -l help -d 'Print help'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l code-file -d 'File with the share code' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l hub -d 'Hub to use. Default: $CONNECT_HUB_URL, else the config file\'s, else https://hub.privateconnect.co' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l config -d 'Config file. Default: ~/.config/kubectl-connect/config.json, and the connect tool\'s ~/.private-connect/config.json' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l hub-ca-file -d 'File with PEM certificates of a private CA that signed the hub\'s certificate' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l api-key-file -d 'File with an API key, for hubs that require an account. Default: $CONNECT_API_KEY, else what login keeps for the hub' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l label -d 'What this machine is called in the share\'s list of joins. Default: user@host' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l address -d 'Address to listen on; can be repeated. Default: localhost' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l port -d 'Local port for a route, such as postgres=15432; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l only -d 'Join this route and no other; can be repeated. Default: all routes' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l service -d 'With --through-cluster: the hub\'s Service. Default: the one that --hub names, else private-connect-hub in namespace private-connect' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -s n -l namespace -d 'Namespace. Default: that of the kubeconfig\'s context' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l context -d 'Context of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l cluster -d 'Cluster of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l user -d 'User of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l kubeconfig -d 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l as -d 'User to impersonate' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l as-group -d 'Group to impersonate; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l request-timeout -d 'Longest time to wait for one answer of the cluster, such as 5s or 1m' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l allow-insecure-hub -d 'Allow http to a hub on another machine. Code, key and all bytes then cross the network in clear text'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l through-cluster -d 'Go to a hub inside a cluster through the cluster\'s API server, which is slower. Needs permission to forward ports'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l print-env -d 'Print NAME=value lines for the routes to stdout and everything else to stderr, and stay'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -l exec -d 'Run the command that follows -- while joined. The same as leaving this word out'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand join" -s h -l help -d 'Print help'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand login" -l hub -d 'Hub to use. Default: $CONNECT_HUB_URL, else the config file\'s, else https://hub.privateconnect.co' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand login" -l config -d 'Config file. Default: ~/.config/kubectl-connect/config.json, and the connect tool\'s ~/.private-connect/config.json' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand login" -l hub-ca-file -d 'File with PEM certificates of a private CA that signed the hub\'s certificate' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand login" -l api-key-file -d 'Read the API key from a file' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand login" -s n -l namespace -d 'Namespace. Default: that of the kubeconfig\'s context' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand login" -l context -d 'Context of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand login" -l cluster -d 'Cluster of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand login" -l user -d 'User of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand login" -l kubeconfig -d 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand login" -l as -d 'User to impersonate' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand login" -l as-group -d 'Group to impersonate; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand login" -l request-timeout -d 'Longest time to wait for one answer of the cluster, such as 5s or 1m' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand login" -l allow-insecure-hub -d 'Allow http to a hub on another machine. Code, key and all bytes then cross the network in clear text'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand login" -l api-key-stdin -d 'Read the API key from stdin'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand login" -s h -l help -d 'Print help'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand logout" -l hub -d 'Hub to use. Default: $CONNECT_HUB_URL, else the config file\'s, else https://hub.privateconnect.co' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand logout" -l config -d 'Config file. Default: ~/.config/kubectl-connect/config.json, and the connect tool\'s ~/.private-connect/config.json' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand logout" -l hub-ca-file -d 'File with PEM certificates of a private CA that signed the hub\'s certificate' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand logout" -s n -l namespace -d 'Namespace. Default: that of the kubeconfig\'s context' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand logout" -l context -d 'Context of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand logout" -l cluster -d 'Cluster of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand logout" -l user -d 'User of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand logout" -l kubeconfig -d 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand logout" -l as -d 'User to impersonate' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand logout" -l as-group -d 'Group to impersonate; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand logout" -l request-timeout -d 'Longest time to wait for one answer of the cluster, such as 5s or 1m' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand logout" -l allow-insecure-hub -d 'Allow http to a hub on another machine. Code, key and all bytes then cross the network in clear text'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand logout" -s h -l help -d 'Print help'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand completion" -s n -l namespace -d 'Namespace. Default: that of the kubeconfig\'s context' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand completion" -l context -d 'Context of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand completion" -l cluster -d 'Cluster of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand completion" -l user -d 'User of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand completion" -l kubeconfig -d 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand completion" -l as -d 'User to impersonate' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand completion" -l as-group -d 'Group to impersonate; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand completion" -l request-timeout -d 'Longest time to wait for one answer of the cluster, such as 5s or 1m' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand completion" -s h -l help -d 'Print help'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand man" -s n -l namespace -d 'Namespace. Default: that of the kubeconfig\'s context' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand man" -l context -d 'Context of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand man" -l cluster -d 'Cluster of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand man" -l user -d 'User of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand man" -l kubeconfig -d 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand man" -l as -d 'User to impersonate' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand man" -l as-group -d 'Group to impersonate; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand man" -l request-timeout -d 'Longest time to wait for one answer of the cluster, such as 5s or 1m' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand man" -s h -l help -d 'Print help'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand doctor" -l operator-namespace -d 'Namespace in which the operator runs' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand doctor" -l hub -d 'A hub to check besides those that the cluster speaks of' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand doctor" -s o -l output -d 'Form of the output. Default: for people' -r -f -a "json\t''
yaml\t''"
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand doctor" -s n -l namespace -d 'Namespace. Default: that of the kubeconfig\'s context' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand doctor" -l context -d 'Context of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand doctor" -l cluster -d 'Cluster of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand doctor" -l user -d 'User of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand doctor" -l kubeconfig -d 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand doctor" -l as -d 'User to impersonate' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand doctor" -l as-group -d 'Group to impersonate; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand doctor" -l request-timeout -d 'Longest time to wait for one answer of the cluster, such as 5s or 1m' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand version" -s n -l namespace -d 'Namespace. Default: that of the kubeconfig\'s context' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand version" -l context -d 'Context of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand version" -l cluster -d 'Cluster of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand version" -l user -d 'User of the kubeconfig' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand version" -l kubeconfig -d 'Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config' -r -F
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand version" -l as -d 'User to impersonate' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand version" -l as-group -d 'Group to impersonate; can be repeated' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand version" -l request-timeout -d 'Longest time to wait for one answer of the cluster, such as 5s or 1m' -r
complete -c kubectl-connect -n "__fish_kubectl_connect_using_subcommand version" -s h -l help -d 'Print help'
