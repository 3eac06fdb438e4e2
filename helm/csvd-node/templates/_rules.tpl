{{/*
Alerts. Counters are of one process and added up; what comes from the index is the same from each, so the largest.
They look at the release's own namespace: one Prometheus may watch several. Their label has it as well, by which
AlertmanagerConfigs take them.
*/}}
{{- define "csvd-node.rules" -}}
{{- $alerts := .Values.alerts -}}
{{- $here := printf "namespace=%q" .Release.Namespace -}}
{{- $own := printf "{%s}" $here -}}
groups:
  - name: csvd-node
    rules:
      - alert: CsvdStudyFailed
        expr: sum(increase(csvd_studies_failed_total{{ $own }}[1h])) > 0
        labels: {severity: warning, namespace: {{ .Release.Namespace | quote }}}
        annotations:
          summary: Studies failed within the last hour and go no further without a person.
      - alert: CsvdQueueAge
        expr: max(csvd_queue_oldest_age_seconds{ {{- $here }},queue="evaluations"}) > {{ $alerts.queueAgeS }}
        for: 5m
        labels: {severity: warning, namespace: {{ .Release.Namespace | quote }}}
        annotations:
          summary: The oldest Study has waited for a worker for {{ "{{ $value | humanizeDuration }}" }}.
      - alert: CsvdQueueFull
        expr: max(csvd_queue_full{ {{- $here }},queue="evaluations"}) > 0
        for: 5m
        labels: {severity: warning, namespace: {{ .Release.Namespace | quote }}}
        annotations:
          summary: More Studies wait for a worker than backpressure.limit; with backpressure.refuse new ones are refused.
      - alert: CsvdDeliveryLag
        expr: max by (destination) (csvd_delivery_oldest_age_seconds{{ $own }}) > {{ $alerts.deliveryLagS }}
        for: 5m
        labels: {severity: critical, namespace: {{ .Release.Namespace | quote }}}
        annotations:
          summary: '{{ "{{ $labels.destination }}" }} has waited for results for {{ "{{ $value | humanizeDuration }}" }}.'
      - alert: CsvdCommitmentLag
        expr: max by (destination) (csvd_commitment_oldest_age_seconds{{ $own }}) > 86400
        for: 5m
        labels: {severity: warning, namespace: {{ .Release.Namespace | quote }}}
        annotations:
          summary: '{{ "{{ $labels.destination }}" }} has had results for {{ "{{ $value | humanizeDuration }}" }} and does not commit to them.'
      - alert: CsvdDeliveryRefused
        {{- /* A status is counted from its first answer on: a series that is new has all its answers in this hour. */}}
        {{- $refused := printf `csvd_delivery_attempts_total{%s,status!~"0000|B000|B006|B007|failed"}` $here }}
        expr: sum by (destination, status) (({{ $refused }} unless max_over_time({{ $refused }}[1h] offset 1h)) or increase({{ $refused }}[1h])) > 0
        labels: {severity: warning, namespace: {{ .Release.Namespace | quote }}}
        annotations:
          summary: '{{ "{{ $labels.destination }}" }} does not take results (status {{ "{{ $labels.status }}" }}).'
      - alert: CsvdInstancesLost
        expr: sum by (result) (increase(csvd_instances_received_total{ {{- $here }},result=~"refused|failed"}[1h])) > 0
        labels: {severity: warning, namespace: {{ .Release.Namespace | quote }}}
        annotations:
          summary: 'Instances arrived and were not kept ({{ "{{ $labels.result }}" }}); their sender was told so.'
      - alert: CsvdEngineStrained
        expr: max by (segment) (csvd_engine_strained{{ $own }}) > 0
        for: 10m
        labels: {severity: warning, namespace: {{ .Release.Namespace | quote }}}
        annotations:
          summary: 'The GPU did not do all of its work for {{ "{{ $labels.segment }}" }} in the last Study: it failed or is short of memory.'
      - alert: CsvdDiskLow
        expr: min by (instance) (csvd_disk_free_bytes{{ $own }} / csvd_disk_size_bytes{{ $own }}) * 100 < {{ $alerts.diskFreePercent }}
        for: 5m
        labels: {severity: critical, namespace: {{ .Release.Namespace | quote }}}
        annotations:
          summary: Only {{ "{{ $value | humanize }}" }} % of the store's disk are free.
      - alert: CsvdCertificateExpires
        expr: min by (use, part) (csvd_certificate_expiry_timestamp_seconds{{ $own }}) - time() < {{ $alerts.certificateDays }} * 86400
        for: 5m
        labels: {severity: warning, namespace: {{ .Release.Namespace | quote }}}
        annotations:
          summary: 'The {{ "{{ $labels.part }}" }} of the {{ "{{ $labels.use }}" }} is good for {{ "{{ $value | humanizeDuration }}" }} more; below zero it expired or cannot be read.'
      - alert: CsvdSignOnsRefused
        expr: sum(increase(csvd_sign_ons_refused_total{{ $own }}[15m])) > 20
        labels: {severity: warning, namespace: {{ .Release.Namespace | quote }}}
        annotations:
          summary: '{{ "{{ $value | humanize }}" }} attempts to sign on to the pages were refused within 15 minutes; somebody may be guessing.'
      - alert: CsvdIndexUnreachable
        expr: min by (instance) (csvd_index_reachable{{ $own }}) == 0
        for: 2m
        labels: {severity: critical, namespace: {{ .Release.Namespace | quote }}}
        annotations:
          summary: '{{ "{{ $labels.instance }}" }} cannot reach the index database.'
      - alert: CsvdNodeAbsent
        expr: absent(csvd_index_reachable{{ $own }})
        for: 5m
        labels: {severity: critical, namespace: {{ .Release.Namespace | quote }}}
        annotations:
          summary: No process of the node answers Prometheus.
{{- end -}}
