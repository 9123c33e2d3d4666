import type { GatewayConnectionSpec } from '../api/gateway-connection.ts';
import { sectionOf } from '../api/vendor-section.ts';
import { type Complaint, complaintText } from '../model/errors.ts';
import type { ServicePortRef } from '../model/reference.ts';
import type { GatewayDriver } from './driver.ts';
import type { DataPlaneAddresses, DriverLimits, SecretKeyRef, Vendor } from './vendor.ts';

/** Name and spec of a GatewayConnection. */
export interface ConnectionFacts {
  readonly name: string;
  readonly spec:
    | { readonly ok: true; readonly value: GatewayConnectionSpec }
    | { readonly ok: false; readonly message: string };
}

interface SecretData {
  readonly data: Readonly<Record<string, string>>;
}

export interface GatewayAccess {
  /** Namespace of the Secrets. */
  readonly operatorNamespace: string;
  readonly requestTimeoutMs: number;
}

/** A connection that a driver can be created from, or the reason why not. */
export type ResolvedConnection =
  | {
      readonly kind: 'resolved';
      readonly spec: GatewayConnectionSpec;
      readonly vendor: Vendor;
      /** Connections with equal settings reach the same gateway with the same credentials. Serializable as JSON. */
      readonly settings: object;
      /** Throws an `Error` with a message for the user if the settings are invalid. */
      createDriver(mayWrite?: () => boolean): GatewayDriver;
    }
  | ({
      readonly kind: 'unusable';
      readonly reason: 'SecretNotFound' | 'InvalidSpec';
      readonly message: string;
    } & Complaint);

/** Resolves the vendor and the Secrets of a connection. */
export function resolveConnection(
  vendorOf: (type: string) => Vendor,
  { spec, name }: ConnectionFacts,
  secretNamed: (name: string) => SecretData | undefined,
  { operatorNamespace, requestTimeoutMs }: GatewayAccess,
): ResolvedConnection {
  if (!spec.ok) return invalid(name, spec.message);
  const vendor = vendorOf(spec.value.type);
  const section = sectionOf(spec.value, vendor.section);
  if (section === undefined) return invalid(name, `spec.${vendor.section} is missing`);
  const missing = vendor
    .secretRefs(section)
    .flatMap((ref) => missingSecret(ref, secretNamed(ref.name), operatorNamespace) ?? []);
  if (missing.length > 0) {
    const complaint = {
      problem: missing.join('; '),
      remedy: `create what is missing, or correct the reference in spec.${vendor.section} of GatewayConnection ${name}`,
    };
    return { kind: 'unusable', reason: 'SecretNotFound', message: complaintText(complaint), ...complaint };
  }
  const settings = vendor.settings(section, (ref) => secretNamed(ref.name)?.data[ref.key] ?? '');
  const limits: DriverLimits = { concurrency: spec.value.limits.concurrency, requestTimeoutMs };
  return {
    kind: 'resolved',
    spec: spec.value,
    vendor,
    settings: { type: vendor.type, ...settings, ...limits },
    createDriver: (mayWrite) =>
      vendor.createDriver({ ...settings, ...limits, ...(mayWrite === undefined ? {} : { mayWrite }) }),
  };
}

function invalid(name: string, why: string): ResolvedConnection {
  const problem = `GatewayConnection ${name} is not valid: ${why}`;
  return { kind: 'unusable', reason: 'InvalidSpec', message: problem, problem };
}

function missingSecret(
  { name, key }: SecretKeyRef,
  found: SecretData | undefined,
  namespace: string,
): string | undefined {
  const where = `${namespace}/${name}`;
  if (found === undefined) return `Secret ${where} does not exist`;
  return Object.hasOwn(found.data, key) ? undefined : `Secret ${where} has no key ${key}`;
}

/** Whether the connection refers to the Secret `secret`. */
export function refersToSecret(
  vendorOf: (type: string) => Vendor,
  { spec }: ConnectionFacts,
  secret: string,
): boolean {
  if (!spec.ok) return false;
  const vendor = vendorOf(spec.value.type);
  const section = sectionOf(spec.value, vendor.section);
  return section !== undefined && vendor.secretRefs(section).some(({ name }) => name === secret);
}

/** The addresses of the data planes of a connection. */
export type FoundDataPlanes =
  | Extract<DataPlaneAddresses, { kind: 'urls' }>
  | { readonly kind: 'service'; readonly ref: ServicePortRef; readonly field: string };

/** Undefined if the operator does not query the data planes. */
export function dataPlanesOf(
  vendorOf: (type: string) => Vendor,
  spec: GatewayConnectionSpec,
): FoundDataPlanes | undefined {
  const vendor = vendorOf(spec.type);
  const section = sectionOf(spec, vendor.section);
  const found = section === undefined ? undefined : vendor.dataPlanes?.(section);
  if (found?.kind !== 'service') return found;
  const { namespace, name, port } = found.service;
  const ref = {
    source: 'Kubernetes',
    namespace,
    name,
    port: { by: 'servicePort', port },
    protocol: 'TCP',
  } as const;
  return { kind: 'service', ref, field: found.field };
}
