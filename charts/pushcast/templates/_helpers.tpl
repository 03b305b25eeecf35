{{/* Name of the release's objects; 41 characters leave room for the longest suffix. */}}
{{- define "pushcast.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 41 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 41 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 41 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "pushcast.manager" -}}{{ include "pushcast.fullname" . }}-push-manager{{- end -}}
{{- define "pushcast.node" -}}{{ include "pushcast.fullname" . }}-connect-node{{- end -}}
{{- define "pushcast.etcd" -}}{{ include "pushcast.fullname" . }}-etcd{{- end -}}

{{/* Labels that select a component: (list . "push-manager"). They never change while a release lives. */}}
{{- define "pushcast.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "pushcast.labels" -}}
{{- $root := index . 0 -}}
{{ include "pushcast.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "pushcast.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{- end -}}
{{- end -}}
{{- end -}}

{{/* Secrets that are generated unless named. */}}
{{- define "pushcast.fleetKeySecret" -}}
{{- default (printf "%s-fleet-key" (include "pushcast.fullname" .)) .Values.auth.fleet.existingSecret -}}
{{- end -}}
{{- define "pushcast.ticketKeySecret" -}}
{{- default (printf "%s-ticket-key" (include "pushcast.fullname" .)) .Values.tickets.existingSecret -}}
{{- end -}}

{{/* Seconds in a duration such as 90s, 2m or 1h; whole units only, as values.schema.json demands. */}}
{{- define "pushcast.seconds" -}}
{{- $text := toString . -}}
{{- if hasSuffix "h" $text -}}{{ mul 3600 (trimSuffix "h" $text | int) }}
{{- else if hasSuffix "m" $text -}}{{ mul 60 (trimSuffix "m" $text | int) }}
{{- else -}}{{ trimSuffix "s" $text | int }}
{{- end -}}
{{- end -}}

{{/* Pod Security "restricted". The user id is that of the image. */}}
{{- define "pushcast.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}
{{- define "pushcast.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "pushcast.etcdArgs" -}}
{{- if .Values.etcd.dev.enabled }}
- --etcd-endpoints=http://{{ include "pushcast.etcd" . }}:2379
{{- else }}
- --etcd-endpoints={{ join "," .Values.etcd.endpoints }}
{{- end }}
- --etcd-prefix={{ default (printf "/pushcast/%s/%s" .Release.Namespace .Release.Name) .Values.etcd.prefix }}
- --etcd-lease={{ .Values.etcd.lease }}
{{- with .Values.etcd.auth }}
{{- if .existingSecret }}
- --etcd-user={{ .user }}
- --etcd-password-file=/etc/pushcast/etcd-auth/{{ .passwordKey }}
{{- end }}
{{- end }}
{{- with .Values.etcd.tls }}
{{- if .existingSecret }}
- --etcd-ca=/etc/pushcast/etcd-tls/{{ .caKey }}
{{- if .certKey }}
- --etcd-cert=/etc/pushcast/etcd-tls/{{ .certKey }}
- --etcd-key=/etc/pushcast/etcd-tls/{{ .keyKey }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* (list . "push-manager") */}}
{{- define "pushcast.fleetArgs" -}}
{{- $root := index . 0 -}}
- --fleet-auth={{ $root.Values.auth.fleet.mode }}
{{- if eq $root.Values.auth.fleet.mode "key" }}
- --fleet-key-file=/etc/pushcast/fleet/{{ $root.Values.auth.fleet.key }}
{{- else if eq $root.Values.auth.fleet.mode "mtls" }}
- --fleet-ca-file=/etc/pushcast/fleet/ca.crt
- --fleet-cert-file=/etc/pushcast/fleet/tls.crt
- --fleet-private-key-file=/etc/pushcast/fleet/tls.key
{{- end }}
{{- end -}}

{{/* The secret of a component's own fleet proof: (list . "pushManager"). */}}
{{- define "pushcast.fleetSecret" -}}
{{- $root := index . 0 -}}
{{- if eq $root.Values.auth.fleet.mode "mtls" -}}
{{- index $root.Values.auth.fleet.mtls (index . 1) -}}
{{- else -}}
{{- include "pushcast.fleetKeySecret" $root -}}
{{- end -}}
{{- end -}}

{{/* Volumes and mounts that both components have: (list . "pushManager"). */}}
{{- define "pushcast.volumes" -}}
{{- $root := index . 0 -}}
{{- if ne $root.Values.auth.fleet.mode "none" }}
- name: fleet
  secret:
    secretName: {{ include "pushcast.fleetSecret" . }}
    defaultMode: 0440
{{- end }}
{{- with $root.Values.etcd.auth.existingSecret }}
- name: etcd-auth
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with $root.Values.etcd.tls.existingSecret }}
- name: etcd-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end -}}
{{- define "pushcast.mounts" -}}
{{- $root := index . 0 -}}
{{- if ne $root.Values.auth.fleet.mode "none" }}
- name: fleet
  mountPath: /etc/pushcast/fleet
  readOnly: true
{{- end }}
{{- if $root.Values.etcd.auth.existingSecret }}
- name: etcd-auth
  mountPath: /etc/pushcast/etcd-auth
  readOnly: true
{{- end }}
{{- if $root.Values.etcd.tls.existingSecret }}
- name: etcd-tls
  mountPath: /etc/pushcast/etcd-tls
  readOnly: true
{{- end }}
{{- end -}}

{{/* What kubelet asks, by a scheme if it is not HTTP: liveness never looks at etcd, readiness at everything. */}}
{{- define "pushcast.probes" -}}
startupProbe:
  httpGet: { path: /healthz, port: http{{ with . }}, scheme: {{ . }}{{ end }} }
  periodSeconds: 1
  failureThreshold: 30
livenessProbe:
  httpGet: { path: /healthz, port: http{{ with . }}, scheme: {{ . }}{{ end }} }
  periodSeconds: 10
  failureThreshold: 3
readinessProbe:
  httpGet: { path: /readyz, port: http{{ with . }}, scheme: {{ . }}{{ end }} }
  periodSeconds: 2
  failureThreshold: 1
{{- end -}}

{{/* Spread over zones and machines: (list . "push-manager" .Values.pushManager). */}}
{{- define "pushcast.spread" -}}
{{- $root := index . 0 -}}
{{- $component := index . 2 -}}
{{- if $component.topologySpreadConstraints }}
{{- toYaml $component.topologySpreadConstraints }}
{{- else }}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "pushcast.selector" (list $root (index $ 1)) | nindent 6 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* "yes" if nodes or managers speak TLS by themselves, which the client of `helm test` does not. */}}
{{- define "pushcast.speaksTls" -}}
{{- if or .Values.connectNode.tls.existingSecret .Values.pushManager.tls.existingSecret -}}yes{{- end -}}
{{- end -}}

{{/* "yes" if `helm test` has what it needs: what doors ask for, and nobody who speaks TLS. */}}
{{- define "pushcast.testable" -}}
{{- $pushes := or (eq .Values.auth.api.mode "none") .Values.test.apiKey.existingSecret -}}
{{- $connects := or (eq .Values.auth.clients.mode "none") .Values.test.token.existingSecret -}}
{{- if and $pushes $connects (not (include "pushcast.speaksTls" .)) -}}yes{{- end -}}
{{- end -}}
