import type { Capability, GatewayInfo, Unsupported } from '../../model/gateway.ts';
import type { Upstream } from '../../model/upstream.ts';

/** Something that not every APISIX can do. */
interface Limit {
  /** Under which name the status tells of it; absent: it tells nobody anything. */
  readonly capability?: string;
  /** The first version without this limit; absent: there is none. */
  readonly until?: string;
  /** Older versions without it. */
  readonly backports?: readonly string[];
  /** The fields of `upstream` that meet it, in the spec's spelling. */
  readonly met: (upstream: Upstream) => readonly string[];
  /** What such a version does, after its name. */
  readonly says: string;
}

/** Raw fields that 3.18 knows, or that a limit of its own is about. */
const KNOWN_OVERRIDES = new Set(['name', 'discovery_args', 'warm_up_conf']);

const when = (isMet: boolean, field: string): readonly string[] => (isMet ? [field] : []);
/** As APISIX counts: characters, not units of UTF-16. */
const length = (text: unknown): number => (typeof text === 'string' ? [...text].length : 0);
const certificateField = 'spec.tls.clientCertificateSecretRef';

/**
 * By source (`apisix/schema_def.lua`, `apisix/upstream.lua`) of the tags 3.2.0 to 3.18.0, and of what was merged after
 * 3.18.0. Brackets around IPv6 addresses are no limit: every one of these versions takes them, and from 3.15.0 on APISIX
 * takes no others.
 */
const LIMITS: readonly Limit[] = [
  {
    capability: 'LongLabels',
    until: '3.4.0',
    met: ({ labels }) =>
      Object.entries(labels).flatMap(([key, value]) => when(length(value) > 64, `spec.labels[${key}]`)),
    says: 'takes values of labels up to 64 characters',
  },
  {
    capability: 'HashByMqttClientId',
    until: '3.4.0',
    backports: ['3.2.2'],
    met: ({ loadBalancing }) =>
      when(
        loadBalancing.type === 'ConsistentHash' &&
          loadBalancing.hashOn === 'Vars' &&
          loadBalancing.key === 'mqtt_client_id',
        'spec.loadBalancing.key',
      ),
    says: 'does not hash mqtt_client_id',
  },
  {
    capability: 'ForcedDeletion',
    until: '3.5.0',
    met: () => [],
    says: 'deletes nothing that a route refers to',
  },
  {
    capability: 'LongNames',
    until: '3.15.0',
    met: ({ overrides }) => when(length(overrides?.['name']) > 100, 'spec.apisix.overrides.name'),
    says: 'takes names up to 100 characters',
  },
  {
    capability: 'ShortPrivateKeys',
    until: '3.17.0',
    met: ({ tls }) =>
      when(tls?.clientCertificate !== undefined && length(tls.clientCertificate.key) < 128, certificateField),
    says: 'takes no private key that is shorter than 128 characters, as one of Ed25519 is',
  },
  {
    capability: 'ProbeRequests',
    until: '3.18.0',
    met: ({ healthCheck: { active } = {} }) =>
      active === undefined || active.type === 'TCP'
        ? []
        : [
            ...when(active.method !== 'GET', 'spec.healthCheck.active.method'),
            ...when(active.body !== '', 'spec.healthCheck.active.body'),
          ],
    says: 'probes by GET without a body, whatever is set',
  },
  {
    capability: 'StreamClientCertificates',
    until: '3.18.0',
    met: ({ scheme, tls }) =>
      when(scheme === 'TLS' && tls?.clientCertificate !== undefined, certificateField),
    says: 'shows no certificate with scheme TLS',
  },
  {
    // Merged after 3.18.0, apache/apisix#13863; until then only the scheme kafka reads the field.
    capability: 'NodeVerification',
    until: '3.19.0',
    met: ({ scheme, tls }) => when(scheme !== 'TLS' && tls?.verify === true, 'spec.tls.verify'),
    says: 'does not look at the certificates of nodes, whatever is set',
  },
  {
    // Merged after 3.18.0, apache/apisix#13941.
    capability: 'WarmUp',
    until: '3.19.0',
    met: ({ overrides = {} }) =>
      when(Object.hasOwn(overrides, 'warm_up_conf'), 'spec.apisix.overrides.warm_up_conf'),
    says: 'has no slow start',
  },
  {
    // From 3.6.0 on an unknown field is refused, before that it is stored and does nothing.
    until: '3.19.0',
    met: ({ overrides = {} }) =>
      Object.keys(overrides).flatMap((name) =>
        when(!KNOWN_OVERRIDES.has(name), `spec.apisix.overrides.${name}`),
      ),
    says: 'knows no such field of an upstream',
  },
  {
    met: ({ scheme, tls }) => when(scheme === 'TLS' && tls?.verify === true, 'spec.tls.verify'),
    says: 'does not look at the certificates of nodes with scheme TLS',
  },
  {
    met: ({ overrides }) => when(length(overrides?.['name']) > 256, 'spec.apisix.overrides.name'),
    says: 'takes names up to 256 characters',
  },
  {
    met: ({ tls }) =>
      when(
        length(tls?.clientCertificate?.certificate) > 65_536 || length(tls?.clientCertificate?.key) > 65_536,
        certificateField,
      ),
    says: 'takes certificates, with their chain, and keys up to 65536 characters',
  },
];

/** The contract of `GatewayFormat.unsupported`. */
export function unsupported(desired: Upstream, { version }: GatewayInfo): readonly Unsupported[] {
  return LIMITS.filter((limit) => applies(limit, version)).flatMap((limit) =>
    limit.met(desired).map((field) => ({ field, message: messageOf(limit, version) })),
  );
}

/** The contract of `GatewayFormat.capabilities`. */
export function capabilities({ version }: GatewayInfo): readonly Capability[] {
  if (version === undefined) return [];
  return LIMITS.flatMap((limit) =>
    limit.capability === undefined || limit.until === undefined
      ? []
      : [{ name: limit.capability, supported: !applies(limit, version), since: limit.until }],
  );
}

function messageOf({ capability, until, says }: Limit, version: string | undefined): string {
  if (until === undefined) return `APISIX ${says}, in every version so far`;
  const what = `APISIX ${version} ${says}`;
  return capability === undefined ? what : `${what} (${until} and later can do more)`;
}

/** A gateway that does not say its version counts as the newest. */
function applies({ until, backports = [] }: Limit, version: string | undefined): boolean {
  if (until === undefined) return true;
  return version !== undefined && isBefore(version, until) && !backports.includes(version);
}

/** Both are three numbers with dots. */
function isBefore(version: string, other: string): boolean {
  const numbers = version.split('.').map(Number);
  for (const [index, part] of other.split('.').map(Number).entries()) {
    const own = numbers[index] ?? 0;
    if (own !== part) return own < part;
  }
  return false;
}
