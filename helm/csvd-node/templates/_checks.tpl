{{/* What the schema cannot say: values that contradict each other. Each message names the values to change. */}}
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
{{- $roles := include "csvd-node.roles" . | splitList " " -}}
{{- range $role, $pods := .Files.Get "files/pods.json" | fromJson -}}
{{- if and (not (has $role $roles)) (ne (toJson $pods) (toJson (index $v $role))) -}}
{{- fail (printf "%s: topology: %s has no such pods, so that these values would do nothing; set those of %s, or another topology" $role $v.topology (join ", " $roles)) -}}
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
{{- $byJob := eq $v.engines.buildBy "Job" -}}
{{- if and $v.gpu.enabled $byJob (eq $v.topology "single") -}}
{{- fail "engines.buildBy: Job needs topology: roles: the one pod builds its engines itself, and a Job may wait for its GPU for ever; leave it out" -}}
{{- end -}}
{{- $workers := ternary $v.work.replicas $v.autoscaling.maxReplicas (eq $v.autoscaling.by "none") | int -}}
{{- $sharedCache := or $v.engines.cache.existingClaim (eq $v.engines.cache.accessMode "ReadWriteMany") -}}
{{- if and $v.gpu.enabled (eq $v.topology "roles") (or $byJob (gt $workers 1)) (not $sharedCache) -}}
{{- fail "engines.cache is for all workers: set engines.cache.accessMode: ReadWriteMany, or name a claim of your own that all reach in engines.cache.existingClaim (a claim that is there cannot be changed)" -}}
{{- end -}}
{{- range $name, $_ := $v.env -}}
{{- if not (regexMatch "^[A-Za-z_][A-Za-z0-9_]*$" $name) -}}
{{- fail (printf "env.%s: this is no name of an environment variable" $name) -}}
{{- end -}}
{{- if regexMatch "^CSVD_(CONFIG|TERMINATION_LOG|ROOT|DATABASE_URL|ROLES|RECEIVER(__(HOST|PORT|TLS.*))?|WEB(__(HOST|PORT))?|LOG(__FORMAT)?|(STORAGE|ENGINES)(__.*)?)$" (upper $name) -}}
{{- fail (printf "env.%s: the chart sets this itself, from other values" $name) -}}
{{- end -}}
{{- if and (has $name (list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY")) $v.storage.s3.existingSecret -}}
{{- fail (printf "env.%s: it comes from storage.s3.existingSecret" $name) -}}
{{- end -}}
{{- end -}}
{{- range $v.extraVolumes -}}
{{- if ne 1 (len (compact (list .existingClaim .configMap .secret))) -}}
{{- fail (printf "extraVolumes: %s needs one of existingClaim, configMap and secret" .name) -}}
{{- end -}}
{{- if or (has .name (list "config" "store" "tmp" "engines")) (hasPrefix "tls-" .name) -}}
{{- fail (printf "extraVolumes: %s is the name of a volume of the chart; choose another one" .name) -}}
{{- end -}}
{{- $mounted := printf "%s/" (trimSuffix "/" .mountPath) -}}
{{- range $own := list "/etc/csvd-node/" "/var/lib/csvd-node/" "/var/cache/csvd-node/" "/tmp/" -}}
{{- if hasPrefix $mounted $own -}}
{{- fail (printf "extraVolumes: mountPath %s would hide files of the node; choose another one" $mounted) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $v.dicomService.nodePort (eq $v.dicomService.type "ClusterIP") -}}
{{- fail "dicomService.nodePort needs dicomService.type: NodePort or LoadBalancer" -}}
{{- end -}}
{{- range $role := include "csvd-node.roles" . | splitList " " -}}
{{- range (index $v $role).tolerations -}}
{{- if and .value (ne (.operator | default "Exists") "Equal") -}}
{{- fail (printf "%s.tolerations: a value needs operator: Equal" $role) -}}
{{- end -}}
{{- if and (not .key) (eq (.operator | default "Exists") "Equal") -}}
{{- fail (printf "%s.tolerations: operator: Equal needs a key" $role) -}}
{{- end -}}
{{- end -}}
{{- range $label, $_ := (index $v $role).labels -}}
{{- if or (hasPrefix "app.kubernetes.io/" $label) (eq $label "helm.sh/chart") -}}
{{- fail (printf "%s.labels: %s is set by the chart, which finds its pods by it" $role $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
