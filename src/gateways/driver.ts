import type { Confirmation } from '../model/confirmation.ts';
import { GatewayRejectedError } from '../model/errors.ts';
import type { Capability, GatewayInfo, Unsupported } from '../model/gateway.ts';
import type { OwnerMark } from '../model/ownership.ts';
import type { ObservedUpstream, Traffic, Upstream, UpstreamId, UpstreamNode } from '../model/upstream.ts';

/** Everything that a gateway holds, and what its answer said of itself: one request for both. */
export interface GatewayListing {
  readonly upstreams: ReadonlyMap<UpstreamId, ObservedUpstream>;
  readonly info: GatewayInfo;
}

/** A vendor's wire format, as far as it can be read without a gateway that answers. Pure. */
export interface GatewayFormat {
  /**
   * The canonical form of `desired`: equal to the `canonical` of what `put(desired)` resolves to and of what a later
   * `get` or `list` observes, whatever defaults the gateway adds. JSON of one object with a member per field in the
   * gateway's own words, so that `decide/diff.ts` can name what differs.
   */
  canonical(desired: Upstream): string;

  /**
   * What `desired` has that a gateway of which `info` is known would refuse or not heed; empty: it takes all of it. A
   * gateway that does not say its version counts as the newest.
   */
  unsupported(desired: Upstream, info: GatewayInfo): readonly Unsupported[];

  /** What a gateway of which `info` is known can do and what it lacks; empty where it does not say its version. */
  capabilities(info: GatewayInfo): readonly Capability[];

  /**
   * What a body says that the gateway answered a list of everything with. Throws `GatewayUnavailableError` for one that
   * is no such list.
   */
  listed(body: unknown): ReadonlyMap<UpstreamId, ObservedUpstream>;

  /**
   * What `observed` says in terms of the model: of what `canonical` made, what it was made from. What the model has no
   * place for is left out; numbers that are none are NaN.
   */
  read(observed: ObservedUpstream): ReadUpstream;
}

/** An upstream as far as the model can say it, whoever wrote it. */
export interface ReadUpstream {
  /** Without a client certificate, whose key no gateway shows. */
  readonly traffic: Traffic;
  /** What the gateway's own discovery of Kubernetes follows: `[namespace]/[name]:[portName]`, if it is well-formed. */
  readonly serviceName?: string;
}

/**
 * One gateway's configuration interface. A driver is the only place that knows the vendor's wire format. It keeps no
 * state that a restart would lose, makes no retries (the work queue is the one retry layer), and takes a signal in
 * every call: an aborted call rejects with the signal's reason.
 *
 * Calls reject with `GatewayUnavailableError`, `GatewayAuthError`, `GatewayRejectedError` or `UpstreamInUseError`
 * (`model/errors.ts`), never with the HTTP client's own error, whose properties hold the key.
 */
export interface GatewayDriver extends Pick<GatewayFormat, 'canonical'> {
  readonly type: string;

  /** Resolves to undefined if the gateway has no such upstream. */
  get(id: UpstreamId, signal: AbortSignal): Promise<ObservedUpstream | undefined>;

  /**
   * Every upstream that the gateway holds, ours or not, as of one moment: an object is missing from the result only
   * if the gateway did not have it. Rejects rather than resolve to part of them. Where what `known` gives for an id is
   * still right, that very object may be in the result, so that two lists take the memory of one.
   */
  list(
    signal: AbortSignal,
    known?: (id: UpstreamId) => ObservedUpstream | undefined,
  ): Promise<GatewayListing>;

  /**
   * Creates or replaces the upstream. Idempotent. Resolves to what the gateway answered that it now holds. After a
   * `GatewayUnavailableError` the write may have happened or may still happen: read it back before the next one.
   */
  put(upstream: Upstream, signal: AbortSignal): Promise<ObservedUpstream>;

  /**
   * Replaces the nodes of an upstream and nothing else of it, whatever somebody else changes of it meanwhile. Resolves to
   * what the gateway answered that it now holds, or to undefined if it has no such upstream: none is made.
   */
  putNodes(
    id: UpstreamId,
    nodes: readonly UpstreamNode[],
    signal: AbortSignal,
  ): Promise<ObservedUpstream | undefined>;

  /**
   * Marks whose an upstream is, and changes nothing else of it. Resolves to what the gateway answered that it now holds,
   * or to undefined if it has no such upstream: none is made.
   */
  mark(id: UpstreamId, owner: OwnerMark, signal: AbortSignal): Promise<ObservedUpstream | undefined>;

  /**
   * Deletes the upstream; one that is missing is a success. A gateway whose resources cannot be deleted serves nothing under
   * the id any more, and `get` and `list` do not show it. Rejects with `UpstreamInUseError` while something in the
   * gateway refers to it, unless `references` is `ignore`.
   */
  delete(
    id: UpstreamId,
    options: { readonly references: 'respect' | 'ignore' },
    signal: AbortSignal,
  ): Promise<void>;

  /** Cheap proof that the gateway is reachable and takes the key. */
  check(signal: AbortSignal): Promise<GatewayInfo>;

  /**
   * Proof that the key may write, without a write: it concerns no object, so that it tells a refusal of the key from a
   * refusal of one upstream's content.
   */
  checkWrite(signal: AbortSignal): Promise<void>;

  /** Absent where the gateway's data planes cannot be asked what they serve. */
  readonly dataPlanes?: DataPlaneReader;

  /**
   * Present where data planes fetch the configuration by themselves, so that a write that succeeded takes effect later. Absent
   * where the gateway's answer to a write is its confirmation.
   */
  readonly confirmations?: Confirmations;

  /** Closes idle connections; calls under way end by their own signals. */
  close(): void;
}

/** What the data planes of a gateway make of what they fetched. */
export interface Confirmations {
  /** What became of the last write of `id`. */
  of(id: UpstreamId): Confirmation;
  /** Names of the data planes that are connected now, in order. */
  connectedDataPlanes(): readonly string[];
  /** Calls `listener` with an id whose confirmation changed; with undefined after a data plane came or went. */
  onChange(listener: (id: UpstreamId | undefined) => void): Disposable;
}

/**
 * Asks data planes of a gateway what they serve, each by an address of its own (`http(s)://host:port`, with or without a
 * path before the interface's own). What one says is the view of one of its workers. No key is ever sent. Calls reject
 * with `GatewayUnavailableError`, whose message does not name the address. What is shown is text as `canonical` makes it, with
 * its `nodes`.
 */
export interface DataPlaneReader {
  /** What a data plane shows of an upstream whose canonical form is `canonical` once it serves that. Pure. */
  shown(canonical: string): string;

  /** What the data plane shows as `id`; undefined if it has no such upstream. Takes 2 s at most. */
  get(dataPlane: string, id: UpstreamId, signal: AbortSignal): Promise<string | undefined>;

  /** What the data plane shows of every upstream that it has. One request, and so cheaper than many `get`s. */
  list(dataPlane: string, signal: AbortSignal): Promise<ReadonlyMap<UpstreamId, string>>;
}

/**
 * Throws `GatewayRejectedError` for what is no upstream id; every driver calls it before an id leaves it. `.` and `..`
 * have the characters of an id, but vanish from a URL.
 */
export function assertUpstreamId(id: UpstreamId): void {
  if (/^[a-zA-Z0-9._-]{1,64}$/.test(id) && id !== '.' && id !== '..') return;
  throw new GatewayRejectedError(
    `${JSON.stringify(id.slice(0, 100))} is not a valid upstream id: use 1 to 64 letters, digits, ".", "_" and "-", but not "." or ".." alone`,
  );
}
