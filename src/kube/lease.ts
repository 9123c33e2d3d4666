import { LEASE_SUCCESSOR_ANNOTATION } from '../api/group.ts';
import { KubeApiError } from './kube-error.ts';
import { type KubeTransport, resourcePath } from './transport.ts';

/** A Lease of `coordination.k8s.io/v1`, with the parts that matter to an election. */
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

/** What a released Lease says, as Kubernetes' own components write it: the next leader need not wait. */
export const RELEASED: LeaseSpec = { holderIdentity: '', leaseDurationSeconds: 1 };
/** A successor does not renew: nobody else leads for this long. */
const HANDED_OVER_SECONDS = 30;

interface LeaseRequestSettings {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** One Lease of the API server. */
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

  /** Undefined while there is no Lease. */
  async read(settings: LeaseRequestSettings): Promise<Lease | undefined> {
    try {
      return (await this.#transport.get(this.#path, settings)) as Lease;
    } catch (error) {
      if (error instanceof KubeApiError && error.status === 404) return undefined;
      throw error;
    }
  }

  /** Creates the Lease, or replaces it if it has not changed since it was read. */
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

/** What a Lease says that `successor` gets from its holder. */
export function handedOver({ spec }: Lease, successor: string, time: string): LeaseSpec {
  return {
    holderIdentity: successor,
    leaseDurationSeconds: HANDED_OVER_SECONDS,
    acquireTime: time,
    leaseTransitions: (spec?.leaseTransitions ?? 0) + 1,
  };
}

/** The name in the request to hand the lease over; empty where there is none. */
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

/** As the API server wants a MicroTime: RFC 3339 with six digits. */
export function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}
