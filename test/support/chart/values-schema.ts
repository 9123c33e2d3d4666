import { z } from 'zod';
import { configSchema } from '../../../src/config/config.ts';
import { gatewayConnectionSpec } from '../catalog.ts';
import { valuesComments } from './values-reference.ts';

type JsonSchema = { readonly [key: string]: unknown };
type Properties = Readonly<Record<string, JsonSchema>>;

const text: JsonSchema = { type: 'string' };
const flag: JsonSchema = { type: 'boolean' };
const objects: JsonSchema = { type: 'array', items: { type: 'object' } };
const mapping: JsonSchema = { type: 'object' };
const texts: JsonSchema = { type: 'object', additionalProperties: text };

/**
 * A mapping that rejects unknown keys with a list of the known ones. Helm 3.22 (measured) does not list them for
 * `additionalProperties: false`, and reports the wrong path for `propertyNames`. For a constant it prints path and constant.
 */
function section(properties: Properties, required: readonly string[] = []): JsonSchema {
  const known = Object.keys(properties).join(', ');
  return {
    type: 'object',
    properties,
    additionalProperties: { const: `(unknown key; expected one of: ${known})` },
    ...(required.length === 0 ? {} : { required }),
  };
}

/** A section whose keys are required because the templates use them: `key: null` removes the default of values.yaml. */
function complete(properties: Properties, optional: readonly string[] = []): JsonSchema {
  return section(
    properties,
    Object.keys(properties).filter((key) => !optional.includes(key)),
  );
}

/** `values.schema.json` of the chart: Helm validates the values against it before it renders a template. */
export function valuesSchema(): JsonSchema {
  const config = plain(z.toJSONSchema(configSchema, { io: 'input', target: 'draft-7' }));
  const connection = plain(z.toJSONSchema(gatewayConnectionSpec, { io: 'input', target: 'draft-7' }));
  const { addressing, allowedNamespaces, idPrefix, limits, tenantPolicy } = propertiesOf(connection);
  const { tls, controlApi } = propertiesOf(propertiesOf(connection)['apisix']);
  const { leaderElection, ops } = propertiesOf(config);
  const values = section(
    {
      // Helm passes this key to subcharts.
      global: mapping,
      replicas: { type: 'integer', minimum: 0 },
      image: complete(
        {
          repository: { type: 'string', minLength: 1 },
          tag: text,
          digest: text,
          pullPolicy: { enum: ['Always', 'IfNotPresent', 'Never'] },
        },
        ['tag', 'digest'],
      ),
      imagePullSecrets: { type: 'array', items: section({ name: text }) },
      nameOverride: text,
      fullnameOverride: text,
      commonLabels: texts,
      config: complete(
        {
          ...propertiesOf(config),
          leaderElection: complete(propertiesOf(leaderElection)),
          // The configuration accepts 0 for a free port, but the probes and the Service need a fixed one.
          ops: complete({
            ...propertiesOf(ops),
            port: { type: ['integer', 'string'], minimum: 1, maximum: 65535 },
          }),
        },
        ['clusterId', 'kubeconfig', 'operatorNamespace', 'roleName'],
      ),
      defaultConnection: complete({
        enabled: flag,
        apisix: complete({
          adminUrl: text,
          adminKey: complete({ value: text, existingSecret: complete({ name: text, key: text }) }),
          tls: tls ?? mapping,
          controlApi: controlApi ?? mapping,
        }),
        idPrefix: idPrefix ?? text,
        addressing: addressing ?? mapping,
        allowedNamespaces: allowedNamespaces ?? mapping,
        tenantPolicy: tenantPolicy ?? mapping,
        limits: limits ?? mapping,
      }),
      crds: complete({ upgrade: flag }),
      uninstall: complete({ finalizers: { enum: ['orphan', 'delete', 'refuse'] } }),
      serviceAccount: section({ create: flag, name: text, annotations: texts }),
      rbac: section({ create: flag }),
      service: section({ annotations: texts }),
      networkPolicy: section({ enabled: flag, ingressFrom: objects, egress: objects }),
      serviceMonitor: section({ enabled: flag, interval: text, labels: texts }),
      prometheusRule: section({ enabled: flag, labels: texts }),
      grafanaDashboard: section({ enabled: flag, labels: texts }),
      podDisruptionBudget: complete({ maxUnavailable: { type: ['integer', 'string'] } }),
      topologySpreadConstraints: objects,
      resources: mapping,
      podSecurityContext: mapping,
      securityContext: mapping,
      deploymentAnnotations: texts,
      podAnnotations: texts,
      podLabels: texts,
      nodeSelector: texts,
      tolerations: objects,
      affinity: mapping,
      priorityClassName: text,
      extraEnv: { type: 'array', items: { type: 'object', required: ['name'] } },
      extraVolumes: objects,
      extraVolumeMounts: objects,
    },
    [
      'replicas',
      'image',
      'config',
      'defaultConnection',
      'crds',
      'uninstall',
      'serviceAccount',
      'rbac',
      'service',
      'networkPolicy',
      'serviceMonitor',
      'prometheusRule',
      'grafanaDashboard',
      'podDisruptionBudget',
    ],
  );
  return { $schema: 'http://json-schema.org/draft-07/schema#', ...described(values, valuesComments()) };
}

/** `schema` with the comments of values.yaml as descriptions, by the path of their key. */
function described(schema: JsonSchema, comments: ReadonlyMap<string, string>, path = ''): JsonSchema {
  const comment = comments.get(path);
  const properties = Object.entries(propertiesOf(schema)).map(([key, child]) => [
    key,
    described(child, comments, path === '' ? key : `${path}.${key}`),
  ]);
  return {
    ...schema,
    ...(comment === undefined ? {} : { description: comment }),
    ...(properties.length === 0 ? {} : { properties: Object.fromEntries(properties) }),
  };
}

/** Keywords whose errors Helm reports without an explanation: `templates/_checks.tpl` checks these rules instead. */
const CHECKED_IN_TEMPLATE = new Set([
  '$schema',
  'default',
  'minLength',
  'pattern',
  'required',
  'x-kubernetes-validations',
]);

function plain(value: unknown): JsonSchema {
  const schema = value as JsonSchema;
  const kept = Object.entries(schema).filter(
    ([key]) => !CHECKED_IN_TEMPLATE.has(key) && key !== 'additionalProperties' && key !== 'propertyNames',
  );
  const result: Record<string, unknown> = Object.fromEntries(kept);
  if (schema['items'] !== undefined) result['items'] = plain(schema['items']);
  if (schema['properties'] === undefined) {
    if (schema['additionalProperties'] !== undefined) {
      result['additionalProperties'] = plain(schema['additionalProperties']);
    }
    return result;
  }
  const properties = Object.entries(propertiesOf(schema)).map(([key, child]) => [key, plain(child)] as const);
  return { ...result, ...section(Object.fromEntries(properties)) };
}

function propertiesOf(schema: JsonSchema | undefined): Properties {
  return (schema?.['properties'] ?? {}) as Properties;
}
