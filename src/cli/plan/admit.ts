import { z } from 'zod';
import { CUSTOM_RESOURCES } from '../../api/crd.ts';
import { GROUP, VERSION } from '../../api/group.ts';
import { dnsLabel, dnsSubdomain } from '../../api/schema.ts';
import { kubeTime } from '../../decide/status.ts';
import { isObject, type JsonObject, objectIn, textIn } from '../../runtime/json.ts';
import { type KindName, type PlanResources, type RawObjects, versionsOf } from './kinds.ts';
import { withMirrored } from './mirror-endpoints.ts';
import { PlanError } from './plan-error.ts';
import type { Document } from './read-files.ts';

export interface Admitted {
  readonly objects: RawObjects;
  /** Number of ignored objects by `apiVersion kind`: a plan does not depend on these kinds. */
  readonly ignored: ReadonlyMap<string, number>;
}

/** The default of kubectl. */
const DEFAULT_NAMESPACE = 'default';

const portNumber = z.int().min(1).max(65535);
const protocol = z.enum(['TCP', 'UDP', 'SCTP']).nullish();
const portName = z.string().nullish();
const texts = z.record(z.string(), z.string()).nullish();
const addresses = z.array(z.object({ ip: z.string(), nodeName: z.string().nullish() })).nullish();

/** The rules of the API server for built-in kinds, limited to the fields that a plan uses. */
const SCHEMAS: Readonly<Partial<Record<KindName, z.ZodType>>> = {
  services: z.object({
    spec: z.object({
      type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']).nullish(),
      selector: texts,
      ipFamilies: z.array(z.enum(['IPv4', 'IPv6'])).nullish(),
      ports: z
        .array(
          z.object({
            name: portName,
            port: portNumber,
            protocol,
            nodePort: z.int().min(0).max(65535).nullish(),
            appProtocol: z.string().nullish(),
          }),
        )
        .nullish(),
      clusterIP: z.string().nullish(),
      clusterIPs: z.array(z.string()).nullish(),
      externalName: z.string().nullish(),
      externalTrafficPolicy: z.enum(['Cluster', 'Local']).nullish(),
    }),
    status: z
      .object({
        loadBalancer: z
          .object({
            ingress: z
              .array(z.object({ ip: z.string().nullish(), hostname: z.string().nullish() }))
              .nullish(),
          })
          .nullish(),
      })
      .nullish(),
  }),
  nodes: z.object({
    metadata: z.object({ labels: texts }),
    status: z
      .object({
        conditions: z.array(z.object({ type: z.string(), status: z.string() })).nullish(),
        addresses: z.array(z.object({ type: z.string(), address: z.string() })).nullish(),
      })
      .nullish(),
  }),
  slices: z.object({
    addressType: z.enum(['IPv4', 'IPv6', 'FQDN']),
    ports: z.array(z.object({ name: portName, port: portNumber.nullish(), protocol })).nullish(),
    endpoints: z
      .array(
        z.object({
          addresses: z.array(z.string()).min(1).max(100),
          conditions: z.record(z.string(), z.boolean().nullish()).nullish(),
          nodeName: z.string().nullish(),
          zone: z.string().nullish(),
        }),
      )
      .max(1000)
      .nullish(),
  }),
  grants: z.object({
    spec: z.object({
      from: z
        .array(z.object({ group: z.string(), kind: z.string(), namespace: z.string() }))
        .min(1)
        .max(16),
      to: z
        .array(z.object({ group: z.string(), kind: z.string(), name: z.string().optional() }))
        .min(1)
        .max(16),
    }),
  }),
  endpoints: z.object({
    subsets: z
      .array(
        z.object({
          addresses,
          notReadyAddresses: addresses,
          ports: z.array(z.object({ name: portName, port: portNumber, protocol })).nullish(),
        }),
      )
      .nullish(),
  }),
  secrets: z.object({ data: texts, stringData: texts }),
};

const NAMES: Readonly<Record<KindName, { readonly pattern: RegExp; readonly max: number }>> = {
  upstreams: { pattern: dnsSubdomain, max: 253 },
  connections: { pattern: dnsSubdomain, max: 253 },
  // The name is a label value of the GatewayUpstreams of the set.
  sets: { pattern: dnsSubdomain, max: 63 },
  registries: { pattern: dnsSubdomain, max: 253 },
  namespaces: { pattern: dnsLabel, max: 63 },
  nodes: { pattern: dnsSubdomain, max: 253 },
  services: { pattern: dnsLabel, max: 63 },
  slices: { pattern: dnsSubdomain, max: 253 },
  endpoints: { pattern: dnsSubdomain, max: 253 },
  secrets: { pattern: dnsSubdomain, max: 253 },
  grants: { pattern: dnsSubdomain, max: 253 },
};

/** The kinds that a plan uses, by `apiVersion kind`. */
function kindsByType(resources: PlanResources): ReadonlyMap<string, KindName> {
  return new Map(
    (Object.keys(NAMES) as KindName[]).flatMap((name) => {
      const resource = resources[name];
      if (resource === undefined) return [];
      const { group, kind } = resource;
      return versionsOf(resource).map((version): [string, KindName] => [
        `${group === '' ? version : `${group}/${version}`} ${kind}`,
        name,
      ]);
    }),
  );
}

/**
 * Simulates the creation of `documents` in an API server: applies defaults, validates names and custom resources, and mirrors
 * Endpoints. Fields that an API server has already set (`kubectl get -o yaml`) are kept. Throws `PlanError` with one line per
 * object that the API server would reject.
 *
 * @param now Wall clock, milliseconds. The creation time of objects without one.
 */
export function admit(resources: PlanResources, documents: readonly Document[], now: number): Admitted {
  const byType = kindsByType(resources);
  const problems: string[] = [];
  const ignored = new Map<string, number>();
  const admitted = new Map<KindName, JsonObject[]>();
  const seen = new Map<string, string>();
  for (const { where, value } of documents.flatMap(itemsOf)) {
    const object = objectIn(value);
    const apiVersion = textIn(object['apiVersion']);
    const type = `${apiVersion} ${textIn(object['kind'])}`;
    if (apiVersion === '' || textIn(object['kind']) === '') {
      problems.push(`${where} is not a Kubernetes object: add apiVersion, kind and metadata`);
      continue;
    }
    const name = byType.get(type);
    if (name === undefined) {
      if (apiVersion.startsWith(`${GROUP}/`)) {
        problems.push(
          `${where}: unknown kind ${type}: ${GROUP}/${VERSION} has ${CUSTOM_RESOURCES.map(({ kind }) => kind).join(', ')}`,
        );
      } else ignored.set(type, (ignored.get(type) ?? 0) + 1);
      continue;
    }
    const accepted = withDefaults(resources, name, object, now);
    const label = labelOf(accepted);
    const wrong = [
      ...metadataProblems(resources, name, accepted),
      ...schemaProblems(resources, name, accepted),
    ];
    const before = seen.get(label);
    if (before !== undefined) wrong.push(`duplicate of the object in ${before}: remove one of them`);
    seen.set(label, where);
    problems.push(...wrong.map((problem) => `${where}, ${label}: ${problem}`));
    const list = admitted.get(name) ?? [];
    admitted.set(name, list);
    list.push(accepted);
  }
  if (problems.length > 0) throw new PlanError(problems.join('\n'));
  const given = (name: KindName) => admitted.get(name) ?? [];
  return {
    ignored,
    objects: {
      upstreams: given('upstreams'),
      connections: given('connections'),
      sets: given('sets'),
      registries: given('registries'),
      namespaces: given('namespaces'),
      services: given('services'),
      slices: withMirrored(given('slices'), given('endpoints'), given('services')),
      secrets: given('secrets'),
      grants: given('grants'),
      endpoints: given('endpoints'),
      // Without nodes in the files, the nodes of the cluster are unknown.
      ...(given('nodes').length === 0 ? {} : { nodes: given('nodes') }),
    },
  };
}

/** The items of a List or a typed list such as ServiceList; another document is returned as it is. */
function itemsOf({ where, value }: Document): readonly Document[] {
  const { apiVersion, kind, items } = objectIn(value);
  if (!textIn(kind).endsWith('List') || !Array.isArray(items)) return [{ where, value }];
  // The items of a typed list have no apiVersion and kind.
  const itemKind = textIn(kind).slice(0, -'List'.length);
  return items.flatMap((item: unknown, index) =>
    itemsOf({
      where: `${where}, item ${index + 1}`,
      value: itemKind === '' || !isObject(item) ? item : { apiVersion, kind: itemKind, ...item },
    }),
  );
}

function isNamespaced(resources: PlanResources, name: KindName): boolean {
  return resources[name]?.scope === 'Namespaced';
}

function isCustomResource(name: KindName): name is 'upstreams' | 'connections' | 'sets' | 'registries' {
  return name === 'upstreams' || name === 'connections' || name === 'sets' || name === 'registries';
}

/** `object` with the fields that an API server adds. */
function withDefaults(resources: PlanResources, name: KindName, object: JsonObject, now: number): JsonObject {
  const metadata = objectIn(object['metadata']);
  const namespace = isNamespaced(resources, name)
    ? textIn(metadata['namespace']) || DEFAULT_NAMESPACE
    : undefined;
  return {
    ...object,
    ...(isCustomResource(name) ? { spec: withoutNulls(object['spec']) } : {}),
    ...(name === 'secrets' && isObject(object['stringData']) ? { data: secretData(object) } : {}),
    metadata: {
      generation: 1,
      // The current time: if two objects use the same id, the one that already exists is older.
      creationTimestamp: kubeTime(now),
      uid: `${textIn(object['kind'])}/${namespace ?? ''}/${textIn(metadata['name'])}`,
      ...withoutNulls(metadata),
      namespace,
    },
  };
}

/**
 * Removes null fields, as the API server does for structural schemas without `nullable`. Keeps them in `overrides`, whose
 * fields are not in the schema.
 */
function withoutNulls<T>(value: T): T {
  if (Array.isArray(value)) return value.map(withoutNulls) as T;
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, member]) => {
      if (member === null) return [];
      return [[key, key === 'overrides' ? member : withoutNulls(member)]];
    }),
  ) as T;
}

function secretData({ data, stringData }: JsonObject): JsonObject {
  const encoded = Object.entries(objectIn(stringData)).map(([key, value]) => [
    key,
    typeof value === 'string' ? Buffer.from(value, 'utf8').toString('base64') : value,
  ]);
  return { ...objectIn(data), ...Object.fromEntries(encoded) };
}

function metadataProblems(
  resources: PlanResources,
  admittedKind: KindName,
  object: JsonObject,
): readonly string[] {
  const metadata = objectIn(object['metadata']);
  const name = textIn(metadata['name']);
  const { pattern, max } = NAMES[admittedKind];
  const problems: string[] = [];
  if (name === '') problems.push('metadata.name is missing');
  else if (name.length > max || !pattern.test(name)) {
    problems.push(
      `metadata.name must be at most ${max} lowercase letters, digits${pattern === dnsLabel ? '' : ', "."'} and "-"`,
    );
  }
  if (isNamespaced(resources, admittedKind)) {
    const namespace = textIn(metadata['namespace']);
    if (namespace.length > 63 || !dnsLabel.test(namespace)) {
      problems.push('metadata.namespace must be at most 63 lowercase letters, digits and "-"');
    }
  }
  return problems;
}

function schemaProblems(resources: PlanResources, name: KindName, object: JsonObject): readonly string[] {
  if (isCustomResource(name)) {
    const spec = resources[name]?.transform(object)?.spec;
    // The transform needs a name. A missing name is reported by metadataProblems.
    if (spec === undefined) return [];
    return spec.ok ? [] : [spec.message];
  }
  const result = SCHEMAS[name]?.safeParse(object);
  return (result?.error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);
}

function labelOf(object: JsonObject): string {
  const { namespace, name } = objectIn(object['metadata']);
  const where = textIn(namespace) === '' ? '' : `${textIn(namespace)}/`;
  return `${textIn(object['kind'])} ${where}${textIn(name) || '(no name)'}`;
}
