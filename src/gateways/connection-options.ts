import type { GatewayConnectionSpec } from '../api/gateway-connection.ts';
import { type Complaint, complaintText } from '../model/errors.ts';
import type { GatewayConnection, SecretFacts } from '../model/objects.ts';
import type { ServicePortRef } from '../model/reference.ts';
import type { GatewayOptions } from './index.ts';
export type GatewayOptionsResult =
  | { readonly kind: 'resolved'; readonly spec: GatewayConnectionSpec; readonly options: GatewayOptions }
  | ({
      readonly kind: 'unusable';
      readonly reason: 'SecretNotFound' | 'InvalidSpec';
      readonly message: string;
    } & Complaint);

/** What the driver of `connection` is made from, or why there is none. The Secrets are those of `operatorNamespace`. */
export function gatewayOptionsOf(
  { spec, name }: GatewayConnection,
  secretNamed: (name: string) => SecretFacts | undefined,
  {
    operatorNamespace,
    requestTimeoutMs,
  }: { readonly operatorNamespace: string; readonly requestTimeoutMs: number },
): GatewayOptionsResult {
  if (!spec.ok || spec.value.apisix === undefined) {
    const why = spec.ok ? 'spec.apisix is missing' : spec.message;
    const problem = `GatewayConnection ${name} is not valid: ${why}`;
    return { kind: 'unusable', reason: 'InvalidSpec', message: problem, problem };
  }
  const { adminUrl, adminKeySecretRef, tls } = spec.value.apisix;
  const missing: string[] = [];
  const secret = (ref: { readonly name: string; readonly key: string }): string => {
    const where = `${operatorNamespace}/${ref.name}`;
    const found = secretNamed(ref.name);
    if (found === undefined) missing.push(`Secret ${where} does not exist`);
    else if (!Object.hasOwn(found.data, ref.key)) missing.push(`Secret ${where} has no key ${ref.key}`);
    return found?.data[ref.key] ?? '';
  };
  const adminKey = secret(adminKeySecretRef);
  const ca = tls?.caSecretRef === undefined ? undefined : secret(tls.caSecretRef);
  const clientName = tls?.clientCertificateSecretRef?.name;
  const client =
    clientName === undefined
      ? undefined
      : {
          clientCert: secret({ name: clientName, key: 'tls.crt' }),
          clientKey: secret({ name: clientName, key: 'tls.key' }),
        };
  if (missing.length > 0) {
    const complaint = {
      problem: missing.join('; '),
      remedy: `create it there, or correct the reference in spec.apisix of GatewayConnection ${name}`,
    };
    return { kind: 'unusable', reason: 'SecretNotFound', message: complaintText(complaint), ...complaint };
  }
  return {
    kind: 'resolved',
    spec: spec.value,
    options: {
      type: spec.value.type,
      adminUrl,
      adminKey,
      concurrency: spec.value.limits.concurrency,
      requestTimeoutMs,
      tls: {
        ...(ca === undefined ? {} : { ca }),
        ...client,
        ...(tls?.serverName === undefined ? {} : { serverName: tls.serverName }),
        insecureSkipVerify: tls?.insecureSkipVerify ?? false,
      },
    },
  };
}

/** Where the data planes of a connection are asked; undefined: they are not. */
export function controlApiOf(
  spec: GatewayConnectionSpec,
):
  | { readonly kind: 'urls'; readonly urls: readonly string[] }
  | { readonly kind: 'service'; readonly ref: ServicePortRef }
  | undefined {
  const { urls, serviceRef } = spec.apisix?.controlApi ?? {};
  if (serviceRef !== undefined) {
    const { namespace, name, port } = serviceRef;
    const ref: ServicePortRef = {
      source: 'Kubernetes',
      namespace,
      name,
      port: { by: 'servicePort', port },
      protocol: 'TCP',
    };
    return { kind: 'service', ref };
  }
  return urls === undefined ? undefined : { kind: 'urls', urls };
}
