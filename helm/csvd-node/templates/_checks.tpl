{{/* What the schema can not say: values that contradict each other. Each message names the values to change. */}}
{{- define "csvd-node.check" -}}
{{- $v := .Values -}}
{{- $shared := or $v.storage.s3.enabled $v.storage.volume.existingClaim (eq $v.storage.volume.accessMode "ReadWriteMany") -}}
{{- if eq $v.topology "roles" -}}
{{- if not $v.database.url.existingSecret -}}
{{- fail "topology: roles needs PostgreSQL: set database.url.existingSecret" -}}
{{- end -}}
{{- if not $shared -}}
{{- fail "topology: roles needs files that all pods see: set storage.volume.accessMode: ReadWriteMany, or storage.s3.enabled" -}}
{{- end -}}
{{- else -}}
{{- if gt (int $v.single.replicas) 1 -}}
{{- fail "topology: single is one pod: set single.replicas to 0 or 1, or topology: roles" -}}
{{- end -}}
{{- if ne $v.autoscaling.by "none" -}}
{{- fail "autoscaling needs topology: roles" -}}
{{- end -}}
{{- end -}}
{{- if and $v.storage.s3.enabled (not $v.storage.s3.bucket) -}}
{{- fail "storage.s3.enabled needs storage.s3.bucket" -}}
{{- end -}}
{{- range $name, $_ := $v.tls.destinations -}}
{{- if not (hasKey ($v.config.destinations | default dict) $name) -}}
{{- fail (printf "tls.destinations.%s: config.destinations has no destination of that name" $name) -}}
{{- end -}}
{{- end -}}
{{- $associations := dig "receiver" "stop_grace_s" 10 $v.config -}}
{{- $work := dig "stop_grace_s" 30 $v.config -}}
{{- range $role := include "csvd-node.roles" . | splitList " " -}}
{{- if le (float64 (index $v $role).graceS) (addf $associations $work) -}}
{{- fail (printf "%s.graceS must be longer than config.receiver.stop_grace_s and config.stop_grace_s together, %v s: a pod that is stopped would be killed before it has finished" $role (addf $associations $work)) -}}
{{- end -}}
{{- end -}}
{{- if and $v.gpu.enabled $v.image.digest (not $v.gpu.digest) -}}
{{- fail "gpu.enabled with image.digest needs gpu.digest: the image for a GPU is another one" -}}
{{- end -}}
{{- if and (or $v.networkPolicy.traces $v.networkPolicy.tracesNamespace) (not (dig "traces" "endpoint" "" $v.config)) -}}
{{- fail "networkPolicy.traces and networkPolicy.tracesNamespace need config.traces.endpoint, whose port they open" -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.host) -}}
{{- fail "ingress.enabled needs ingress.host" -}}
{{- end -}}
{{- if and (eq $v.autoscaling.by "keda") (not $v.autoscaling.prometheus) -}}
{{- fail "autoscaling.by: keda needs autoscaling.prometheus" -}}
{{- end -}}
{{- if and (eq $v.autoscaling.by "hpa") (lt (int $v.autoscaling.minReplicas) 1) -}}
{{- fail "autoscaling.by: hpa needs autoscaling.minReplicas of at least 1" -}}
{{- end -}}
{{- if gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas) -}}
{{- fail "autoscaling.minReplicas is larger than autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and $v.gpu.enabled (eq $v.engines.buildBy "Job") (ne $v.engines.cache.accessMode "ReadWriteMany") (eq $v.topology "roles") -}}
{{- fail "engines.buildBy: Job needs a cache that all workers see: set engines.cache.accessMode: ReadWriteMany" -}}
{{- end -}}
{{- end -}}
