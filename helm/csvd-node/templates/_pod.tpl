{{/* The pods. Context: dict "root" "role" (single, receive, work, send, web) "pods" (values of the role). */}}

{{- define "csvd-node.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* What every pod has in common; its context is the root. */}}
{{- define "csvd-node.podBase" -}}
serviceAccountName: {{ include "csvd-node.serviceAccount" . }}
automountServiceAccountToken: false
# A Service named csvd would otherwise set variables that look like settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "csvd-node.env" -}}
{{- $v := .root.Values -}}
- name: CSVD_CONFIG
  value: /etc/csvd-node/node.yaml
- name: CSVD_TERMINATION_LOG
  value: /dev/termination-log
{{- with $v.database.url.existingSecret }}
- name: CSVD_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $v.database.url.key }}
{{- end }}
{{- if $v.storage.s3.enabled }}
{{- with $v.storage.s3.existingSecret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: access-key-id
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: secret-access-key
{{- end }}
{{- end }}
{{- range $name, $value := $v.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* Secrets as environment variables; the context is the root. */}}
{{- define "csvd-node.envFrom" -}}
{{- with .Values.envSecrets -}}
envFrom:
{{- range . }}
  - secretRef:
      name: {{ . }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "csvd-node.mounts" -}}
{{- $v := .root.Values -}}
- name: config
  mountPath: /etc/csvd-node/node.yaml
  subPath: node.yaml
  readOnly: true
- name: store
  mountPath: /var/lib/csvd-node
- name: tmp
  mountPath: /tmp
{{- if .gpu }}
- name: engines
  mountPath: /var/cache/csvd-node
{{- end }}
{{- if $v.tls.receiver.existingSecret }}
- name: tls-receiver
  mountPath: /etc/csvd-node/tls/receiver
  readOnly: true
{{- end }}
{{- range $number, $name := keys $v.tls.destinations | sortAlpha }}
- name: tls-destination-{{ $number }}
  mountPath: {{ printf "/etc/csvd-node/tls/destinations/%s" $name | quote }}
  readOnly: true
{{- end }}
{{- range $v.extraVolumes }}
- name: {{ .name }}
  mountPath: {{ .mountPath }}
  readOnly: true
{{- end }}
{{- end -}}

{{- define "csvd-node.volumes" -}}
{{- $v := .root.Values -}}
- name: config
  configMap:
    name: {{ include "csvd-node.fullname" .root }}
- name: tmp
  emptyDir:
    sizeLimit: 2Gi
- name: store
{{- if $v.storage.s3.enabled }}
  emptyDir:
    sizeLimit: {{ $v.storage.workSize }}
{{- else }}
  persistentVolumeClaim:
    claimName: {{ include "csvd-node.storeClaim" .root }}
{{- end }}
{{- if .gpu }}
- name: engines
  persistentVolumeClaim:
    claimName: {{ include "csvd-node.enginesClaim" .root }}
{{- end }}
{{- with $v.tls.receiver.existingSecret }}
- name: tls-receiver
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- range $number, $name := keys $v.tls.destinations | sortAlpha }}
- name: tls-destination-{{ $number }}
  secret:
    secretName: {{ (index $v.tls.destinations $name).existingSecret }}
    defaultMode: 0440
{{- end }}
{{- range $v.extraVolumes }}
- name: {{ .name }}
  {{- if .existingClaim }}
  persistentVolumeClaim:
    claimName: {{ .existingClaim }}
    readOnly: true
  {{- else if .configMap }}
  configMap:
    name: {{ .configMap }}
  {{- else }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
  {{- end }}
{{- end }}
{{- end -}}

{{- define "csvd-node.resources" -}}
{{- $requests := .pods.resources.requests -}}
{{- $limits := .pods.resources.limits -}}
{{- if .gpu -}}
{{- $one := dict .root.Values.gpu.resource 1 -}}
{{- $requests = merge (deepCopy $requests) $one -}}
{{- $limits = merge (deepCopy $limits) $one -}}
{{- end -}}
requests: {{- toYaml $requests | nindent 2 }}
limits: {{- toYaml $limits | nindent 2 }}
{{- end -}}

{{/* The container that builds the engines; in a worker's pod before it, or in a Job. */}}
{{- define "csvd-node.enginesContainer" -}}
name: engines
image: {{ include "csvd-node.image" (list .root true) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: [engines, build]
env: {{- include "csvd-node.env" . | nindent 2 }}
{{- with include "csvd-node.envFrom" .root }}
{{ . }}
{{- end }}
resources: {{- include "csvd-node.resources" . | nindent 2 }}
securityContext: {{- include "csvd-node.containerSecurity" . | nindent 2 }}
terminationMessagePath: /dev/termination-log
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts: {{- include "csvd-node.mounts" . | nindent 2 }}
{{- end -}}

{{/* Where pods may run. */}}
{{- define "csvd-node.placement" -}}
{{- $v := .root.Values -}}
{{- with .pods.priorityClass }}
priorityClassName: {{ . }}
{{- end }}
{{- if and .gpu $v.gpu.runtimeClass }}
runtimeClassName: {{ $v.gpu.runtimeClass }}
{{- end }}
{{- with .pods.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pods.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .pods.tolerations .gpu }}
tolerations:
{{- range .pods.tolerations }}
  - operator: {{ .operator | default "Exists" }}
    {{- with .key }}
    key: {{ . }}
    {{- end }}
    {{- with .value }}
    value: {{ . | quote }}
    {{- end }}
    {{- with .effect }}
    effect: {{ . }}
    {{- end }}
{{- end }}
{{- if .gpu }}
  - key: {{ $v.gpu.resource }}
    operator: Exists
    effect: NoSchedule
{{- end }}
{{- end }}
{{- end -}}

{{- define "csvd-node.pod" -}}
{{- $v := .root.Values -}}
{{- $isWorker := or (eq .role "single") (eq .role "work") -}}
{{- $_ := set . "gpu" (and $v.gpu.enabled $isWorker) -}}
metadata:
  annotations:
    checksum/config: {{ include "csvd-node.config" .root | sha256sum }}
    {{- with .pods.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  labels:
    {{- include "csvd-node.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
    {{- with .pods.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "csvd-node.podBase" .root | nindent 2 }}
  terminationGracePeriodSeconds: {{ .pods.graceS }}
  {{- include "csvd-node.placement" . | trim | nindent 2 }}
  {{- with .pods.spread }}
  topologySpreadConstraints:
    {{- range . }}
    - topologyKey: {{ .topologyKey | default "kubernetes.io/hostname" }}
      maxSkew: {{ .maxSkew | default 1 }}
      whenUnsatisfiable: {{ .whenUnsatisfiable | default "ScheduleAnyway" }}
      labelSelector:
        matchLabels:
          {{- include "csvd-node.selector" $.root | nindent 10 }}
          app.kubernetes.io/component: {{ $.role }}
      {{- if ne $.role "single" }}
      # During an update the old pods, which are about to go, take no place from the new ones.
      matchLabelKeys: [pod-template-hash]
      {{- end }}
    {{- end }}
  {{- end }}
  {{- if and .gpu (eq $v.engines.buildBy "InitContainer") }}
  initContainers:
    - {{- include "csvd-node.enginesContainer" . | nindent 6 }}
  {{- end }}
  containers:
    - name: node
      image: {{ include "csvd-node.image" (list .root .gpu) }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      args:
        - serve
        {{- if ne .role "single" }}
        - --role={{ .role }}
        {{- end }}
      env: {{- include "csvd-node.env" . | nindent 8 }}
      {{- with include "csvd-node.envFrom" .root }}
      {{- . | nindent 6 }}
      {{- end }}
      ports:
        - name: http
          containerPort: 8080
        {{- if or (eq .role "single") (eq .role "receive") }}
        - name: dicom
          containerPort: 11112
        {{- end }}
      # Until all parts are open, which for a worker means engines built, proven and warm: up to 30 minutes.
      startupProbe:
        httpGet: {path: /health/startup, port: http}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 360
      readinessProbe:
        httpGet: {path: /health/ready, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      livenessProbe:
        httpGet: {path: /health/live, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      resources: {{- include "csvd-node.resources" . | nindent 8 }}
      securityContext: {{- include "csvd-node.containerSecurity" . | nindent 8 }}
      terminationMessagePath: /dev/termination-log
      terminationMessagePolicy: FallbackToLogsOnError
      volumeMounts: {{- include "csvd-node.mounts" . | nindent 8 }}
  volumes: {{- include "csvd-node.volumes" . | nindent 4 }}
{{- end -}}
