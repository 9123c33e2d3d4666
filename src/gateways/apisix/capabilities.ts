import type { Capability, GatewayInfo, Unsupported } from '../../model/gateway.ts';
import type { Upstream } from '../../model/upstream.ts';

/** A limitation of some versions of APISIX. */
interface Limit {
  /** Name in `status.capabilities`; absent if the status does not report it. */
  readonly capability?: string;
  /** The first version without this limit; absent if every version has it. */
  readonly until?: string;
  /** Older versions without this limit. */
  readonly backports?: readonly string[];
  /** The fields of `upstream` that exceed the limit, as they are named in the spec. */
  readonly exceededBy: (upstream: Upstream) => readonly string[];
  /** What a version with this limit does. Follows `APISIX <version>` in a message. */
  readonly behavior: string;
}

/** Raw fields that 3.18 supports, or that have their own entry in `LIMITS`. */
const KNOWN_OVERRIDES = new Set(['name', 'discovery_args', 'warm_up_conf']);

const when = (isMet: boolean, field: string): readonly string[] => (isMet ? [field] : []);
/** In characters, as APISIX counts, not in UTF-16 code units. */
const length = (text: unknown): number => (typeof text === 'string' ? [...text].length : 0);
const certificateField = 'spec.tls.clientCertificateSecretRef';

/**
 * From the source (`apisix/schema_def.lua`, `apisix/upstream.lua`) of the tags 3.2.0 to 3.18.0, and from changes merged
 * after 3.18.0. IPv6 addresses in brackets need no entry: all of these versions accept them, and since 3.15.0 APISIX
 * requires the brackets.
 */
const LIMITS: readonly Limit[] = [
  {
    capability: 'LongLabels',
    until: '3.4.0',
    exceededBy: ({ labels }) =>
      Object.entries(labels).flatMap(([key, value]) => when(length(value) > 64, `spec.labels[${key}]`)),
    behavior: 'accepts label values of at most 64 characters',
  },
  {
    capability: 'HashByMqttClientId',
    until: '3.4.0',
    backports: ['3.2.2'],
    exceededBy: ({ loadBalancing }) =>
      when(
        loadBalancing.type === 'ConsistentHash' &&
          loadBalancing.hashOn === 'Vars' &&
          loadBalancing.key === 'mqtt_client_id',
        'spec.loadBalancing.key',
      ),
    behavior: 'cannot hash mqtt_client_id',
  },
  {
    capability: 'ForcedDeletion',
    until: '3.5.0',
    exceededBy: () => [],
    behavior: 'cannot delete an upstream that a route refers to',
  },
  {
    capability: 'LongNames',
    until: '3.15.0',
    exceededBy: ({ overrides }) => when(length(overrides?.['name']) > 100, 'spec.apisix.overrides.name'),
    behavior: 'accepts names of at most 100 characters',
  },
  {
    capability: 'ShortPrivateKeys',
    until: '3.17.0',
    exceededBy: ({ tls }) =>
      when(tls?.clientCertificate !== undefined && length(tls.clientCertificate.key) < 128, certificateField),
    behavior: 'rejects private keys shorter than 128 characters, such as Ed25519 keys',
  },
  {
    capability: 'ProbeRequests',
    until: '3.18.0',
    exceededBy: ({ healthCheck: { active } = {} }) =>
      active === undefined || active.type === 'TCP'
        ? []
        : [
            ...when(active.method !== 'GET', 'spec.healthCheck.active.method'),
            ...when(active.body !== '', 'spec.healthCheck.active.body'),
          ],
    behavior: 'ignores this field and always probes with GET and without a body',
  },
  {
    capability: 'StreamClientCertificates',
    until: '3.18.0',
    exceededBy: ({ scheme, tls }) =>
      when(scheme === 'TLS' && tls?.clientCertificate !== undefined, certificateField),
    behavior: 'does not present a client certificate with scheme TLS',
  },
  {
    // Merged after 3.18.0, apache/apisix#13863. Before, only the scheme kafka reads the field.
    capability: 'NodeVerification',
    until: '3.19.0',
    exceededBy: ({ scheme, tls }) => when(scheme !== 'TLS' && tls?.verify === true, 'spec.tls.verify'),
    behavior: 'ignores this field and does not verify the certificates of nodes',
  },
  {
    // Merged after 3.18.0, apache/apisix#13941.
    capability: 'WarmUp',
    until: '3.19.0',
    exceededBy: ({ overrides = {} }) =>
      when(Object.hasOwn(overrides, 'warm_up_conf'), 'spec.apisix.overrides.warm_up_conf'),
    behavior: 'does not support slow start',
  },
  {
    // Since 3.6.0 APISIX rejects an unknown field. Before, it stores the field and ignores it.
    until: '3.19.0',
    exceededBy: ({ overrides = {} }) =>
      Object.keys(overrides).flatMap((name) =>
        when(!KNOWN_OVERRIDES.has(name), `spec.apisix.overrides.${name}`),
      ),
    behavior: 'does not know this field',
  },
  {
    exceededBy: ({ scheme, tls }) => when(scheme === 'TLS' && tls?.verify === true, 'spec.tls.verify'),
    behavior: 'does not verify the certificates of nodes with scheme TLS',
  },
  {
    exceededBy: ({ overrides }) => when(length(overrides?.['name']) > 256, 'spec.apisix.overrides.name'),
    behavior: 'accepts names of at most 256 characters',
  },
  {
    exceededBy: ({ tls }) =>
      when(
        length(tls?.clientCertificate?.certificate) > 65_536 || length(tls?.clientCertificate?.key) > 65_536,
        certificateField,
      ),
    behavior: 'accepts certificates, including their chain, and keys of at most 65536 characters',
  },
];

/** Implements `GatewayFormat.unsupported`. */
export function unsupported(desired: Upstream, { version }: GatewayInfo): readonly Unsupported[] {
  return LIMITS.filter((limit) => applies(limit, version)).flatMap((limit) =>
    limit.exceededBy(desired).map((field) => ({ field, message: messageOf(limit, version) })),
  );
}

/** Implements `GatewayFormat.capabilities`. */
export function capabilities({ version }: GatewayInfo): readonly Capability[] {
  if (version === undefined) return [];
  return LIMITS.flatMap((limit) =>
    limit.capability === undefined || limit.until === undefined
      ? []
      : [{ name: limit.capability, supported: !applies(limit, version), since: limit.until }],
  );
}

function messageOf({ capability, until, behavior }: Limit, version: string | undefined): string {
  if (until === undefined) return `APISIX ${behavior} (in all versions)`;
  const what = `APISIX ${version} ${behavior}`;
  return capability === undefined ? what : `${what} (changed in ${until})`;
}

/** A gateway that does not report its version is treated as the newest. */
function applies({ until, backports = [] }: Limit, version: string | undefined): boolean {
  if (until === undefined) return true;
  return version !== undefined && isBefore(version, until) && !backports.includes(version);
}

/** Both have the form `major.minor.patch`. */
function isBefore(version: string, other: string): boolean {
  const numbers = version.split('.').map(Number);
  for (const [index, part] of other.split('.').map(Number).entries()) {
    const own = numbers[index] ?? 0;
    if (own !== part) return own < part;
  }
  return false;
}
