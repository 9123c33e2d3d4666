import { LEASE_SUCCESSOR_ANNOTATION } from '../api/group.ts';
import { KubeApiError } from './kube-error.ts';
import { type KubeTransport, resourcePath } from './transport.ts';

/** A Lease (`coordination.k8s.io/v1`), reduced to the fields that leader election uses. */
export interface Lease {
  readonly metadata: {
    readonly resourceVersion?: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly [field: string]: unknown;
  };
  readonly spec?: LeaseSpec;
}

export interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}

/** The spec of a released Lease, as Kubernetes components write it. The next leader does not have to wait. */
export const RELEASED: LeaseSpec = { holderIdentity: '', leaseDurationSeconds: 1 };
/** The successor does not renew the Lease, so no other replica acquires it for this long. */
const HANDED_OVER_SECONDS = 30;

interface LeaseRequestSettings {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** Reads and writes one Lease. */
export class LeaseClient {
  readonly #transport: KubeTransport;
  readonly #namespace: string;
  readonly #name: string;
  readonly #collection: string;
  readonly #path: string;

  constructor(transport: KubeTransport, namespace: string, name: string) {
    const address = { group: 'coordination.k8s.io', version: 'v1', plural: 'leases', namespace };
    this.#transport = transport;
    this.#namespace = namespace;
    this.#name = name;
    this.#collection = resourcePath(address);
    this.#path = resourcePath({ ...address, name });
  }

  /** Undefined if the Lease does not exist. */
  async read(settings: LeaseRequestSettings): Promise<Lease | undefined> {
    try {
      return (await this.#transport.get(this.#path, settings)) as Lease;
    } catch (error) {
      if (error instanceof KubeApiError && error.status === 404) return undefined;
      throw error;
    }
  }

  /** Creates the Lease, or replaces it. Rejects with 409 if the Lease has changed since it was read. */
  async write(lease: Lease | undefined, spec: LeaseSpec, settings: LeaseRequestSettings): Promise<Lease> {
    const body = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: lease?.metadata ?? { name: this.#name, namespace: this.#namespace },
      spec: { ...lease?.spec, ...spec },
    };
    const request =
      lease === undefined
        ? { method: 'POST' as const, path: this.#collection }
        : { method: 'PUT' as const, path: this.#path };
    return (await this.#transport.send({ ...request, body, ...settings })) as Lease;
  }
}

/** The spec of a Lease that its holder hands over to `successor`. */
export function handedOver({ spec }: Lease, successor: string, time: string): LeaseSpec {
  return {
    holderIdentity: successor,
    leaseDurationSeconds: HANDED_OVER_SECONDS,
    acquireTime: time,
    leaseTransitions: (spec?.leaseTransitions ?? 0) + 1,
  };
}

/** The successor that the Lease's annotation names. Empty if there is none. */
export function successorIn(lease: Lease | undefined): string {
  return lease?.metadata.annotations?.[LEASE_SUCCESSOR_ANNOTATION] ?? '';
}

export function withoutSuccessor<T extends Lease | undefined>(lease: T): T {
  if (lease?.metadata.annotations === undefined) return lease;
  const { [LEASE_SUCCESSOR_ANNOTATION]: _, ...annotations } = lease.metadata.annotations;
  return { ...lease, metadata: { ...lease.metadata, annotations } };
}

/** The Lease was changed, created or deleted since it was read. */
export function isConflict(error: unknown): boolean {
  return error instanceof KubeApiError && error.status === 409;
}

/** Formats a Kubernetes MicroTime: RFC 3339 with six fractional digits. */
export function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}
