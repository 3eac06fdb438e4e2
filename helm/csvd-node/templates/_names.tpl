{{/* Names and labels. */}}

{{- define "csvd-node.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "csvd-node.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "csvd-node.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "csvd-node.selector" . }}
{{- end -}}

{{- define "csvd-node.serviceAccount" -}}
{{- default (include "csvd-node.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/* The image of a pod; its context is a list of the root and whether the pod has a GPU. */}}
{{- define "csvd-node.image" -}}
{{- $root := index . 0 -}}
{{- $image := $root.Values.image -}}
{{- $hasGpu := index . 1 -}}
{{- $digest := ternary $root.Values.gpu.digest $image.digest $hasGpu -}}
{{- if $digest -}}
{{- printf "%s@%s" $image.repository $digest -}}
{{- else -}}
{{- printf "%s:%s%s" $image.repository (default $root.Chart.AppVersion $image.tag) (ternary "-gpu" "" $hasGpu) -}}
{{- end -}}
{{- end -}}

{{/* The roles that have pods, with a space between. */}}
{{- define "csvd-node.roles" -}}{{ ternary "single" "receive work send web" (eq .Values.topology "single") }}{{- end -}}

{{/* The role whose pods take Studies, and those whose pods send and show pages. */}}
{{- define "csvd-node.receiving" -}}{{ ternary "single" "receive" (eq .Values.topology "single") }}{{- end -}}
{{- define "csvd-node.sending" -}}{{ ternary "single" "send" (eq .Values.topology "single") }}{{- end -}}
{{- define "csvd-node.showing" -}}{{ ternary "single" "web" (eq .Values.topology "single") }}{{- end -}}

{{/* The TCP port of a URL. */}}
{{- define "csvd-node.portOf" -}}
{{- $url := urlParse . -}}
{{- default (ternary "443" "80" (eq $url.scheme "https")) (regexFind ":[0-9]+$" $url.host | trimPrefix ":") -}}
{{- end -}}

{{- define "csvd-node.storeClaim" -}}
{{- default (include "csvd-node.fullname" .) .Values.storage.volume.existingClaim -}}
{{- end -}}

{{- define "csvd-node.enginesClaim" -}}
{{- default (printf "%s-engines" (include "csvd-node.fullname" .)) .Values.engines.cache.existingClaim -}}
{{- end -}}
