import type { z } from 'zod';
import type { SpecSchemas } from '../api/crd.ts';
import { gatewayConnectionStatus } from '../api/gateway-connection.ts';
import { gatewayUpstreamSetStatus } from '../api/gateway-upstream-set.ts';
import { gatewayUpstreamStatus } from '../api/gateway-upstream-status.ts';
import { ACCEPT_PRUNE_ANNOTATION, ACCEPT_REMOVAL_ANNOTATION, GROUP, SET_LABEL } from '../api/group.ts';
import type { Condition } from '../api/schema.ts';
import { serviceRegistryStatus } from '../api/service-registry.ts';
import { keyPairProblem } from '../decide/key-pair.ts';
import type { KeyPair } from '../model/key-pair.ts';
import type {
  CertificateSecret,
  CustomObject,
  GatewayConnection,
  GatewayUpstream,
  GatewayUpstreamSet,
  MadeBySet,
  NamespaceStored,
  NodeStored,
  Parsed,
  ReferenceGrantStored,
  SecretFacts,
  ServiceRegistry,
} from '../model/objects.ts';
import { interned } from '../runtime/interned.ts';
import {
  identityIn,
  isObject,
  type JsonObject,
  labelsIn,
  objectIn,
  optional,
  optionalObject,
  optionalObjects,
  textIn,
  textsIn,
} from '../runtime/json.ts';

import { whyNotRead } from './large-object.ts';

const CERTIFICATE_SECRET_TYPE = 'kubernetes.io/tls';

/** Selects Secrets that contain a certificate and its key. */
export const CERTIFICATE_SECRETS = { fieldSelector: `type=${CERTIFICATE_SECRET_TYPE}` };

/**
 * Excludes the Secrets in which Helm stores its releases. They are large and numerous, and the operator never uses them.
 */
export const NO_HELM_RELEASES = { fieldSelector: 'type!=helm.sh/release.v1' };

/** The Gateway API kind with which a namespace owner permits references from other namespaces. */
export const REFERENCE_GRANT = {
  group: 'gateway.networking.k8s.io',
  version: 'v1',
  /** The only version that Gateway API before 1.5 serves. It has the same fields. */
  olderVersion: 'v1beta1',
  plural: 'referencegrants',
} as const;

/** Keeps only the fields of the schema, so that a deeply nested `value` is not stored. */
function parse<T extends z.ZodType>(schema: T, value: unknown): Parsed<z.output<T>> {
  let result: z.ZodSafeParseResult<z.output<T>>;
  try {
    result = schema.safeParse(value);
  } catch (error) {
    const why = error instanceof Error ? error.name : 'unknown reason';
    return { ok: false, message: `spec cannot be read (${why}): make it smaller or less deeply nested` };
  }
  if (result.success) return { ok: true, value: result.data };
  const issues = result.error.issues
    .slice(0, MAX_ISSUES)
    .map(({ path, message }) => `${shortened(['spec', ...path].join('.'), MAX_PATH)}: ${message}`);
  const more = result.error.issues.length - issues.length;
  const texts = more > 0 ? [...issues, `${more} more`] : issues;
  const message = shortened(texts.join('; '), MAX_PROBLEM);
  const hasInvalidOverrides = result.error.issues.some(({ path }) => path[1] === 'overrides');
  return { ok: false, message, ...(hasInvalidOverrides ? { hasInvalidOverrides } : {}) };
}

/**
 * A field that this version does not know comes from a CRD of a newer version. Without that field the rest may mean something else,
 * so an operator that was rolled back must not write such an object to the gateway.
 */
function parseSpec<T extends z.ZodType>(schema: T, value: unknown): Parsed<z.output<T>> {
  const parsed = parse(schema, value);
  if (!parsed.ok) return parsed;
  const fields = unknownFields(value, parsed.value, 'spec');
  if (fields.length === 0) return parsed;
  const named = fields.slice(0, MAX_ISSUES).map((field) => `${shortened(field, MAX_PATH)}: unknown field`);
  return { ok: false, message: shortened(named.join('; '), MAX_PROBLEM) };
}

/** Paths of the fields that parsing has dropped. */
function unknownFields(given: unknown, known: unknown, path: string): readonly string[] {
  if (Array.isArray(given) && Array.isArray(known)) {
    return given.flatMap((item, index) => unknownFields(item, known[index], `${path}.${index}`));
  }
  if (!isObject(given) || !isObject(known)) return [];
  return Object.entries(given).flatMap(([field, value]) =>
    Object.hasOwn(known, field)
      ? unknownFields(value, known[field], `${path}.${field}`)
      : [`${path}.${field}`],
  );
}

/** Limits for stored problems. A tenant chooses the keys of maps, and with them the paths of issues. */
const MAX_ISSUES = 16;
const MAX_PATH = 256;
const MAX_PROBLEM = 4096;

function shortened(text: string, max: number): string {
  // Copied, because a slice would keep the whole text in memory.
  return text.length <= max ? text : `${Buffer.from(text.slice(0, max)).toString()}…`;
}

function customObject<S extends z.ZodType, T extends z.ZodType>(
  value: unknown,
  specSchema: S,
  statusSchema: T,
): CustomObject<z.output<S>, z.output<T>> | undefined {
  const object = objectIn(value);
  const metadata = objectIn(object['metadata']);
  const identity = identityIn(object);
  if (identity === undefined) return undefined;
  const status = parse(statusSchema, object['status']);
  const unread = whyNotRead(object);
  return {
    ...identity,
    generation: typeof metadata['generation'] === 'number' ? metadata['generation'] : 0,
    creationTimestamp: interned(textIn(metadata['creationTimestamp'])),
    deletionTimestamp: textIn(metadata['deletionTimestamp']) || undefined,
    finalizers: Array.isArray(metadata['finalizers'])
      ? metadata['finalizers'].map((one) => interned(textIn(one)))
      : [],
    spec:
      unread === undefined
        ? parseSpec(specSchema, object['spec'])
        : { ok: false, message: `the object ${unread}` },
    status: status.ok ? status.value : undefined,
  };
}

/** Reduces custom resources to the parts that the store keeps. */
export interface CustomTransforms {
  readonly gatewayConnection: (value: unknown) => GatewayConnection | undefined;
  readonly gatewayUpstream: (value: unknown) => GatewayUpstream | undefined;
  readonly gatewayUpstreamSet: (value: unknown) => GatewayUpstreamSet | undefined;
  /** Absent if no registry type is built in. */
  readonly serviceRegistry?: (value: unknown) => ServiceRegistry | undefined;
}

export function customTransforms(schemas: SpecSchemas): CustomTransforms {
  const { serviceRegistry } = schemas;
  return {
    gatewayConnection: (value) => customObject(value, schemas.gatewayConnection, gatewayConnectionStatus),
    gatewayUpstream: (value) => transformGatewayUpstream(value, schemas.gatewayUpstream),
    gatewayUpstreamSet: (value) => transformGatewayUpstreamSet(value, schemas.gatewayUpstreamSet),
    ...(serviceRegistry === undefined
      ? {}
      : { serviceRegistry: (value) => customObject(value, serviceRegistry, serviceRegistryStatus) }),
  };
}

function transformGatewayUpstream(
  value: unknown,
  schema: SpecSchemas['gatewayUpstream'],
): GatewayUpstream | undefined {
  const object = customObject(value, schema, gatewayUpstreamStatus);
  if (object === undefined) return undefined;
  const raw = objectIn(value);
  const connection = textIn(objectIn(objectIn(raw['spec'])['connectionRef'])['name']);
  const annotations = textsIn(objectIn(raw['metadata'])['annotations']);
  const { namespace, name, uid, resourceVersion, generation, creationTimestamp } = object;
  const { deletionTimestamp, finalizers, spec, status } = object;
  // One object literal: an object built with spread takes 50 % more memory.
  return {
    namespace,
    name,
    uid,
    resourceVersion,
    generation,
    creationTimestamp,
    deletionTimestamp,
    finalizers,
    spec,
    status:
      status?.conditions === undefined
        ? status
        : { ...status, conditions: status.conditions.map(withInternedTexts) },
    connection: connection === '' ? 'default' : interned(connection),
    acceptRemoval: annotations[ACCEPT_REMOVAL_ANNOTATION],
    madeBy: madeBySet(objectIn(raw['metadata'])),
  };
}

/** The condition with interned strings, to save memory. */
function withInternedTexts({
  type,
  status,
  observedGeneration,
  lastTransitionTime,
  reason,
  message,
}: Condition): Condition {
  return {
    type: interned(type),
    status,
    observedGeneration,
    lastTransitionTime: interned(lastTransitionTime),
    reason: interned(reason),
    message: interned(message),
  };
}

/** The set that made a GatewayUpstream: its controller, or the set that its label names if it has no controller. */
function madeBySet(metadata: JsonObject): MadeBySet | undefined {
  const labels = textsIn(metadata['labels']);
  const references = Array.isArray(metadata['ownerReferences']) ? metadata['ownerReferences'] : [];
  const controller = references.map(objectIn).find((reference) => reference['controller'] === true);
  const owner = { labels, annotations: textsIn(metadata['annotations']) };
  if (controller === undefined) {
    const set = labels[SET_LABEL];
    return set === undefined ? undefined : { ...owner, set, uid: undefined };
  }
  const { apiVersion, kind, name, uid } = controller;
  if (!textIn(apiVersion).startsWith(`${GROUP}/`) || kind !== 'GatewayUpstreamSet') return undefined;
  return { ...owner, set: textIn(name), uid: textIn(uid) };
}

function transformGatewayUpstreamSet(
  value: unknown,
  schema: SpecSchemas['gatewayUpstreamSet'],
): GatewayUpstreamSet | undefined {
  const object = customObject(value, schema, gatewayUpstreamSetStatus);
  if (object === undefined) return undefined;
  const annotations = textsIn(objectIn(objectIn(value)['metadata'])['annotations']);
  return { ...object, acceptPrune: annotations[ACCEPT_PRUNE_ANNOTATION] };
}

export function transformSecret(value: unknown): SecretFacts | undefined {
  const object = objectIn(value);
  const identity = identityIn(object);
  if (identity === undefined) return undefined;
  const data = Object.entries(textsIn(object['data'])).map(([key, encoded]) => [
    key,
    Buffer.from(encoded, 'base64').toString('utf8'),
  ]);
  return { ...identity, data: Object.fromEntries(data) };
}

/** Undefined for a Secret that is not of type `kubernetes.io/tls`. */
export function transformCertificateSecret(value: unknown): CertificateSecret | undefined {
  const secret = transformSecret(value);
  if (secret === undefined || textIn(objectIn(value)['type']) !== CERTIFICATE_SECRET_TYPE) return undefined;
  const { data, ...identity } = secret;
  const { 'tls.crt': certificate = '', 'tls.key': key = '' } = data;
  return { ...identity, pair: pairOf({ certificate, key }) };
}

function pairOf(pair: KeyPair): Parsed<KeyPair> {
  if (pair.certificate === '') return { ok: false, message: 'has no tls.crt' };
  if (pair.key === '') return { ok: false, message: 'has no tls.key' };
  const problem = keyPairProblem(pair);
  return problem === undefined ? { ok: true, value: pair } : { ok: false, message: `contains ${problem}` };
}

/** Throws if the namespace cannot be read: without its labels, no connection would allow it. */
export function transformNamespace(value: unknown): NamespaceStored | undefined {
  const object = objectIn(value);
  const identity = identityIn(object);
  if (identity === undefined) return undefined;
  const metadata = objectIn(object['metadata']);
  return {
    ...identity,
    labels: labelsIn(object),
    terminating:
      optional(metadata['deletionTimestamp'], 'string') !== undefined ||
      optional(optionalObject(object['status'])['phase'], 'string') === 'Terminating',
  };
}

/** Throws if the node cannot be read: it would appear as not ready. */
export function transformNode(value: unknown): NodeStored | undefined {
  const object = objectIn(value);
  const identity = identityIn(object);
  if (identity === undefined) return undefined;
  const { conditions, addresses } = optionalObject(object['status']);
  return {
    ...identity,
    ready: optionalObjects(conditions).some(({ type, status }) => type === 'Ready' && status === 'True'),
    labels: labelsIn(object),
    addresses: optionalObjects(addresses).map(({ type, address }) => ({
      type: optional(type, 'string') ?? '',
      address: optional(address, 'string') ?? '',
    })),
  };
}

/** Throws if the ReferenceGrant cannot be read: it would appear to permit fewer references. */
export function transformReferenceGrant(value: unknown): ReferenceGrantStored | undefined {
  const object = objectIn(value);
  const identity = identityIn(object);
  if (identity === undefined) return undefined;
  const { from, to } = optionalObject(object['spec']);
  return {
    ...identity,
    from: optionalObjects(from).map(({ group, kind, namespace }) => ({
      group: optional(group, 'string') ?? '',
      kind: optional(kind, 'string') ?? '',
      namespace: optional(namespace, 'string') ?? '',
    })),
    to: optionalObjects(to).map(({ group, kind, name }) => ({
      group: optional(group, 'string') ?? '',
      kind: optional(kind, 'string') ?? '',
      ...(name === undefined ? {} : { name: optional(name, 'string') ?? '' }),
    })),
  };
}

/** Substitute for a ReferenceGrant that exists but cannot be read, so that what it permits is unknown. */
export function unreadableReferenceGrant(value: unknown, why: string): ReferenceGrantStored | undefined {
  const identity = identityIn(objectIn(value));
  return identity && { ...identity, from: [], to: [], unreadable: why };
}
