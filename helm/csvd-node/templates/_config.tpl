{{/* The node's configuration file: config, and over it what the chart sets itself. */}}
{{- define "csvd-node.config" -}}
{{- $v := .Values -}}
{{- $config := deepCopy $v.config -}}
{{- /* Where the kernel has IPv6, :: takes what comes over IPv4, too. */ -}}
{{- $host := ternary "::" "0.0.0.0" $v.ipv6 -}}
{{- $receiver := dict "host" $host "port" 11112 -}}
{{- if $v.tls.receiver.existingSecret -}}
{{- $tls := dict "certificate" "/etc/csvd-node/tls/receiver/tls.crt" "key" "/etc/csvd-node/tls/receiver/tls.key" "client_certificate" $v.tls.receiver.clientCertificate -}}
{{- if ne $v.tls.receiver.clientCertificate "none" -}}
{{- $_ := set $tls "ca" "/etc/csvd-node/tls/receiver/ca.crt" -}}
{{- end -}}
{{- $_ := set $receiver "tls" $tls -}}
{{- end -}}
{{- if $v.roundTrip.enabled -}}
{{- $given := $config.receiver | default dict -}}
{{- $_ := set $receiver "calling_aes" (append ($given.calling_aes | default list) $v.roundTrip.callingAe | uniq) -}}
{{- $_ := set $config "routes" (prepend ($config.routes | default list) (dict "calling_ae" $v.roundTrip.callingAe "destinations" list)) -}}
{{- end -}}
{{- range $name, $tls := $v.tls.destinations -}}
{{- $folder := printf "/etc/csvd-node/tls/destinations/%s" $name -}}
{{- $said := dict "ca" (printf "%s/ca.crt" $folder) -}}
{{- if $tls.clientCertificate -}}
{{- $_ := set $said "certificate" (printf "%s/tls.crt" $folder) -}}
{{- $_ := set $said "key" (printf "%s/tls.key" $folder) -}}
{{- end -}}
{{- if $tls.hostName -}}
{{- $_ := set $said "host_name" $tls.hostName -}}
{{- end -}}
{{- $_ := set (index $config.destinations $name) "tls" $said -}}
{{- end -}}
{{- $own := dict
    "root" "/var/lib/csvd-node"
    "receiver" $receiver
    "web" (dict "host" $host "port" 8080)
    "log" (dict "format" "json") -}}
{{- if $v.gpu.enabled -}}
{{- $_ := set $own "engines" (dict "cache" "/var/cache/csvd-node/engines") -}}
{{- end -}}
{{- with $v.storage.s3 -}}
{{- if .enabled -}}
{{- $bucket := dict "bucket" .bucket "prefix" .prefix "region" .region -}}
{{- if .endpoint -}}
{{- $_ := set $bucket "endpoint" .endpoint -}}
{{- if hasPrefix "http://" .endpoint -}}
{{- $_ := set $bucket "allow_http" true -}}
{{- end -}}
{{- end -}}
{{- $_ := set $own "storage" $bucket -}}
{{- end -}}
{{- end -}}
{{- toYaml (mergeOverwrite $config $own) -}}
{{- end -}}
