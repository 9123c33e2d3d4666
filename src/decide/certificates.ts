import type { FoundKeyPair } from '../model/key-pair.ts';
import type { CertificateSecret, GatewayUpstream } from '../model/objects.ts';
import type { StoreView } from '../model/store-view.ts';

/** The input for resolving client certificates. */
export interface CertificateRules {
  /** Certificate Secrets by namespace, for the namespaces in `secretNamespaces` of the configuration. */
  readonly certificates: ReadonlyMap<string, StoreView<CertificateSecret>>;
}

/** The name of the Secret with the client certificate, in the namespace of `object`; undefined if not set. */
export function certificateName({ spec }: GatewayUpstream): string | undefined {
  return spec.ok ? spec.value.tls?.clientCertificateSecretRef?.name : undefined;
}

/** The client certificate of `object`; undefined if it references no Secret. */
export function certificateOf(
  { certificates }: CertificateRules,
  object: GatewayUpstream,
): FoundKeyPair | undefined {
  const { namespace } = object;
  const name = certificateName(object);
  if (name === undefined) return undefined;
  const where = `Secret ${namespace}/${name}`;
  const secrets = certificates.get(namespace);
  if (secrets === undefined) {
    return {
      state: 'unusable',
      reason: 'RefNotPermitted',
      message: `${where} cannot be read because secretNamespaces in the operator's configuration does not include ${namespace}: add the namespace there and install its Role (config.secretNamespaces in the chart does both), or remove spec.tls.clientCertificateSecretRef; until then, ${KEPT}`,
    };
  }
  if (secrets.state.state !== 'synced') {
    const problem = secrets.state.state === 'syncing' ? secrets.state.problem : undefined;
    return {
      state: 'unknown',
      beginning: problem === undefined,
      message: `Secrets in namespace ${namespace} are not listed ${problem === undefined ? 'yet' : `(${problem})`}: ${KEPT}`,
    };
  }
  const secret = secrets.get(namespace, name);
  if (secret?.pair.ok === true) return { state: 'known', pair: secret.pair.value };
  const problem = secret === undefined ? 'of type kubernetes.io/tls does not exist' : secret.pair.message;
  return {
    state: 'unusable',
    reason: 'SecretNotFound',
    message: `${where} ${problem}: put a certificate into tls.crt and its key into tls.key, or correct spec.tls.clientCertificateSecretRef; until then, ${KEPT}`,
  };
}

const KEPT = "the gateway's current configuration is unchanged, including its nodes";
