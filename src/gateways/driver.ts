import type { Confirmation } from '../model/confirmation.ts';
import { GatewayRejectedError } from '../model/errors.ts';
import type { Capability, GatewayInfo, Unsupported } from '../model/gateway.ts';
import type { OwnerMark } from '../model/ownership.ts';
import type { ObservedUpstream, Traffic, Upstream, UpstreamId, UpstreamNode } from '../model/upstream.ts';

/** All upstreams in a gateway, and what the gateway reports about itself, from one request. */
export interface GatewayListing {
  readonly upstreams: ReadonlyMap<UpstreamId, ObservedUpstream>;
  readonly info: GatewayInfo;
}

/** The wire format of a vendor, as far as it is known without a request. Pure. */
export interface GatewayFormat {
  /**
   * The canonical form of `desired`. It equals the `canonical` of the result of `put(desired)` and of a later `get` or
   * `list`, regardless of the defaults that the gateway adds. It is a JSON object with the field names of the gateway, so
   * that `decide/diff.ts` can name differences.
   */
  canonical(desired: Upstream): string;

  /**
   * The fields of `desired` that a gateway with this `info` rejects or ignores. A gateway that does not report its version
   * is treated as the newest.
   */
  unsupported(desired: Upstream, info: GatewayInfo): readonly Unsupported[];

  /** Whether a node keeps its `backendMark` in the gateway. If not, drivers ignore the field. */
  readonly keepsBackendMarks: boolean;

  /** The capabilities of a gateway with this `info`; empty if it does not report its version. */
  capabilities(info: GatewayInfo): readonly Capability[];

  /**
   * The upstreams in the body of a complete list. Throws `GatewayUnavailableError` if the body is not such a list.
   */
  listed(body: unknown): ReadonlyMap<UpstreamId, ObservedUpstream>;

  /**
   * Converts `observed` to the model: the inverse of `canonical`. It omits what the model cannot express. Invalid numbers
   * become NaN.
   */
  read(observed: ObservedUpstream): ReadUpstream;
}

/** An upstream in terms of the model, written by any client. */
export interface ReadUpstream {
  /** Without the client certificate, because gateways do not show its key. */
  readonly traffic: Traffic;
  /** The Service that the Kubernetes discovery of the gateway uses: `[namespace]/[name]:[portName]`. */
  readonly serviceName?: string;
  /** The service that the gateway discovers in a registry; absent if the operator has no such type of registry. */
  readonly registryService?: RegistryService;
}

/** A service of a registry, in terms of a backend. */
export interface RegistryService {
  /** `spec.type` of its ServiceRegistry. */
  readonly type: string;
  /** Fields of the section of its ServiceRegistry and their values. */
  readonly scope: Readonly<Record<string, string>>;
  readonly service: string;
  /** Other fields of the backend. */
  readonly backend: Readonly<Record<string, unknown>>;
  /** For people: differences to the discovery of the gateway. */
  readonly notes: readonly string[];
}

/**
 * The configuration API of one gateway. Only drivers know the wire format of a vendor. A driver keeps no state that must
 * survive a restart and does not retry; the work queue retries. Every call takes a signal and rejects with its reason when
 * it aborts.
 *
 * Calls reject with `GatewayUnavailableError`, `GatewayAuthError`, `GatewayRejectedError` or `UpstreamInUseError`
 * (`model/errors.ts`), never with an error of the HTTP client, whose properties contain the key.
 */
export interface GatewayDriver extends Pick<GatewayFormat, 'canonical'> {
  readonly type: string;

  /** Resolves to undefined if the upstream does not exist. */
  get(id: UpstreamId, signal: AbortSignal): Promise<ObservedUpstream | undefined>;

  /**
   * All upstreams in the gateway at one point in time, whoever owns them. Rejects instead of returning a partial list. If
   * the object that `known` returns for an id is still current, the result may reuse it, which saves memory.
   */
  list(
    signal: AbortSignal,
    known?: (id: UpstreamId) => ObservedUpstream | undefined,
  ): Promise<GatewayListing>;

  /**
   * Creates or replaces the upstream. Idempotent. Resolves to the upstream in the answer of the gateway. After a
   * `GatewayUnavailableError` the write may have taken effect, or may take effect later: read the upstream before the next
   * write.
   */
  put(upstream: Upstream, signal: AbortSignal): Promise<ObservedUpstream>;

  /**
   * Replaces only the nodes of an upstream, even if another client changes other fields at the same time. Resolves to the
   * upstream in the answer of the gateway, or to undefined if the upstream does not exist. It does not create one.
   */
  putNodes(
    id: UpstreamId,
    nodes: readonly UpstreamNode[],
    signal: AbortSignal,
  ): Promise<ObservedUpstream | undefined>;

  /**
   * Sets only the ownership marks of an upstream. Resolves to the upstream in the answer of the gateway, or to undefined if
   * the upstream does not exist. It does not create one.
   */
  mark(id: UpstreamId, owner: OwnerMark, signal: AbortSignal): Promise<ObservedUpstream | undefined>;

  /**
   * Deletes the upstream. Succeeds if it does not exist. If a gateway cannot delete resources, the driver empties the
   * upstream, and `get` and `list` do not return it. Rejects with `UpstreamInUseError` while something in the gateway refers
   * to the upstream, unless `references` is `ignore`.
   */
  delete(
    id: UpstreamId,
    options: { readonly references: 'respect' | 'ignore' },
    signal: AbortSignal,
  ): Promise<void>;

  /** Checks with a cheap request that the gateway is reachable and accepts the key. */
  check(signal: AbortSignal): Promise<GatewayInfo>;

  /**
   * Checks that the key may write, without writing. It concerns no object, so its failure cannot be caused by the content of
   * an upstream.
   */
  checkWrite(signal: AbortSignal): Promise<void>;

  /** Absent if the gateway has no interface to read what its data planes serve. */
  readonly dataPlanes?: DataPlaneReader;

  /**
   * Present for gateways whose data planes fetch the configuration, so that a successful write takes effect later. Absent if
   * the answer of the gateway to a write is its confirmation.
   */
  readonly confirmations?: Confirmations;

  /** Closes idle connections. Pending calls continue until their signals abort. */
  close(): void;
}

/** Confirmations of the data planes of a gateway that fetch their configuration. */
export interface Confirmations {
  /** Whether the last write of `id` took effect. */
  of(id: UpstreamId): Confirmation;
  /** Sorted names of the data planes that are connected now. */
  connectedDataPlanes(): readonly string[];
  /** Calls `listener` with an id whose confirmation changed, or with undefined after a data plane connected or disconnected. */
  onChange(listener: (id: UpstreamId | undefined) => void): Disposable;
}

/**
 * Reads what the data planes of a gateway serve. Each data plane has a URL (`http(s)://host:port` with an optional path).
 * The answer is the view of one of its workers. Requests contain no key. Calls reject with `GatewayUnavailableError`, whose
 * message does not contain the URL. Upstreams are returned in the format of `canonical`.
 */
export interface DataPlaneReader {
  /** The form in which a data plane shows an upstream with this canonical form. Pure. */
  shown(canonical: string): string;

  /** The upstream `id` in the data plane; undefined if it does not exist. Takes at most 2 s. */
  get(dataPlane: string, id: UpstreamId, signal: AbortSignal): Promise<string | undefined>;

  /** All upstreams in the data plane, with one request. */
  list(dataPlane: string, signal: AbortSignal): Promise<ReadonlyMap<UpstreamId, string>>;
}

/**
 * Throws `GatewayRejectedError` for an invalid upstream id. Drivers call it before they use an id in a request. `.` and `..`
 * are invalid, because they disappear from a URL.
 */
export function assertUpstreamId(id: UpstreamId): void {
  if (/^[a-zA-Z0-9._-]{1,64}$/.test(id) && id !== '.' && id !== '..') return;
  throw new GatewayRejectedError(
    `${JSON.stringify(id.slice(0, 100))} is not a valid upstream id: use 1 to 64 letters, digits, ".", "_" and "-", but not "." or ".." alone`,
  );
}
