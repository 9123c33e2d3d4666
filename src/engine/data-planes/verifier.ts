import { isDeepStrictEqual } from 'node:util';
import { MAX_UNREACHABLE } from '../../api/gateway-connection.ts';
import {
  type DataPlanesOfConnection,
  type DataPlanesOfUpstream,
  summarizeVerdicts,
  VERIFICATION_GRACE_MS,
} from '../../decide/data-planes.ts';
import { nodesIn } from '../../decide/diff.ts';
import { boundedMessage } from '../../decide/status.ts';
import { dataPlanesOf } from '../../gateways/connect.ts';
import type { DataPlaneReader } from '../../gateways/driver.ts';
import type { Vendor } from '../../gateways/vendor.ts';
import { type ObjectKey, splitKey } from '../../model/keys.ts';
import type { GatewayConnection, GatewayUpstream } from '../../model/objects.ts';
import type { ServicePortRef } from '../../model/reference.ts';
import type { StoreView } from '../../model/store-view.ts';
import type { ObservedUpstream, UpstreamId } from '../../model/upstream.ts';
import type { Clock } from '../../runtime/clock.ts';
import { PRIORITY } from '../../runtime/lane.ts';
import type { Logger } from '../../runtime/logger.ts';
import { type Pace, SLOW_CONCURRENCY } from '../../runtime/pace.ts';
import { type Result, WorkQueue } from '../../runtime/work-queue.ts';
import type { DiscoverySource } from '../../sources/source.ts';
import type { ObjectStates } from '../object-state.ts';
import type { Reporter } from '../status/reporter.ts';
import { dataPlaneAddresses } from './addresses.ts';
import {
  FAILURES_UNREACHABLE,
  isLagging,
  isUnreachable,
  newDataPlane,
  newVerifiedGateway,
  type VerifiedGateway,
} from './expectations.ts';
import { LAGGING_RETRY_MS, type Poll, poll } from './poll.ts';

export interface DataPlaneVerifierDeps {
  readonly vendorOf: (type: string) => Vendor;
  readonly states: ObjectStates;
  readonly connections: StoreView<GatewayConnection>;
  readonly upstreams: StoreView<GatewayUpstream>;
  /** Undefined while the connection cannot be used. */
  readonly readerOf: (connection: string) => DataPlaneReader | undefined;
  readonly source: DiscoverySource<ServicePortRef>;
  /** The watched namespaces; empty if the operator watches all namespaces. */
  readonly onlyNamespaces: readonly string[];
  readonly reporter: Reporter;
  readonly pace: Pace;
  readonly clock: Clock;
  readonly log: Logger;
  /** The result of `status` changed for a connection. */
  readonly onChange: (connection: string) => void;
}

/** Times after a write at which every data plane is checked. */
const CHECKED_AFTER_MS = [200, 1000, VERIFICATION_GRACE_MS] as const;
const CONCURRENCY = 8;

/** A unit of work. The queue's keys are these values as JSON. */
type Work =
  | { readonly kind: 'update'; readonly connection: string }
  | { readonly kind: 'check'; readonly connection: string; readonly id: UpstreamId }
  | { readonly kind: 'dataPlane'; readonly connection: string; readonly url: string };

/** The queue of work that sends no request. */
const LOCAL_QUEUE = 'data-plane verification';
const dataPlaneQueue = (connection: string): string => `data planes of ${connection}`;

/**
 * Checks whether the data planes of each gateway serve the last written content. It has its own queue and writes only counts
 * and lists in status, so that no write and no condition depends on it.
 */
export class DataPlaneVerifier {
  readonly #deps: DataPlaneVerifierDeps;
  /** By connection. */
  readonly #gateways = new Map<string, VerifiedGateway>();
  readonly #queue: WorkQueue;

  constructor(deps: DataPlaneVerifierDeps) {
    this.#deps = deps;
    this.#queue = new WorkQueue({
      pace: deps.pace,
      clock: deps.clock,
      backoffMs: () => LAGGING_RETRY_MS,
      onError: (key, err) =>
        deps.log.error({ err, key }, 'data-plane verification failed unexpectedly; retrying'),
      run: (key, signal) => this.#run(JSON.parse(key) as Work, signal),
    });
  }

  /** Handles the creation, deletion or spec change of a connection. */
  update(connection: string): void {
    const object = this.#deps.connections.get('', connection);
    // While the spec is unreadable, the last readable spec stays in force.
    if (object !== undefined && !object.spec.ok) return;
    const controlApi =
      object?.spec.ok === true ? dataPlanesOf(this.#deps.vendorOf, object.spec.value) : undefined;
    const before = this.#gateways.get(connection);
    if (controlApi === undefined) {
      before?.subscription?.handle[Symbol.dispose]();
      this.#gateways.delete(connection);
      this.#queue.release(dataPlaneQueue(connection));
      for (const { key } of before?.expected.values() ?? []) {
        const state = this.#deps.states.get(key);
        if (state !== undefined) state.verified = undefined;
        this.#report(key, undefined);
      }
      this.#deps.onChange(connection);
      return;
    }
    const gateway = before ?? newVerifiedGateway();
    this.#gateways.set(connection, gateway);
    this.#queue.setConcurrency(dataPlaneQueue(connection), CONCURRENCY, { slow: SLOW_CONCURRENCY });
    this.#subscribe(connection, gateway, controlApi.kind === 'service' ? controlApi.ref : undefined);
    const found =
      controlApi.kind === 'service'
        ? dataPlaneAddresses(this.#deps.source, controlApi, this.#deps.onlyNamespaces)
        : { urls: controlApi.urls };
    gateway.problem = found.problem;
    if (found.urls !== undefined) this.#replace(connection, gateway, new Set(found.urls));
    this.#deps.onChange(connection);
  }

  /**
   * `object` is programmed: data planes should serve `content` from now on. `written` is present if a write just replaced
   * `written.replaced` with this content.
   */
  expect(
    object: GatewayUpstream,
    content: ObservedUpstream,
    written: { readonly replaced: ObservedUpstream | undefined } | undefined,
  ): void {
    const { connection } = object;
    const gateway = this.#gateways.get(connection);
    const reader = this.#deps.readerOf(connection);
    if (gateway === undefined) {
      // The status may still list data planes from the time when the connection had a `controlApi`.
      this.#deps.reporter.dataPlanes(object, undefined);
      return;
    }
    const state = this.#deps.states.of(object);
    if (reader === undefined || state === undefined) return;
    const { key } = state;
    const { id } = content;
    const now = this.#deps.clock.monotonic();
    // With `manage: Nodes`, only the nodes are compared: the owner of the upstream may change other fields.
    const part = object.spec.ok && object.spec.value.manage === 'Nodes' ? nodesIn : wholeOf;
    const shown = part(reader.shown(content.canonical));
    const known = gateway.expected.get(id);
    if (written === undefined && known?.shown === shown && known.key === key) return;
    const replaced =
      written?.replaced === undefined ? undefined : part(reader.shown(written.replaced.canonical));
    const superseded = [
      ...(known?.superseded.filter(({ at }) => now - at < VERIFICATION_GRACE_MS) ?? []),
      ...[known?.shown, replaced].flatMap((was) => (was === undefined ? [] : [{ shown: was, at: now }])),
    ];
    state.verified = { connection, id };
    gateway.expected.set(id, {
      key,
      part,
      shown,
      superseded,
      createdAt: written !== undefined && replaced === undefined ? now : known?.createdAt,
      checksAt: written === undefined ? [] : CHECKED_AFTER_MS.map((ms) => now + ms),
      reported: known?.reported,
    });
    if (written !== undefined) this.#addAfter({ kind: 'check', connection, id }, CHECKED_AFTER_MS[0]);
    else this.#check(connection, gateway, [id]);
  }

  /** Stops the verification of an object. */
  forget(key: ObjectKey): void {
    const state = this.#deps.states.get(key);
    const place = state?.verified;
    if (state === undefined || place === undefined) return;
    state.verified = undefined;
    const gateway = this.#gateways.get(place.connection);
    if (gateway?.expected.get(place.id)?.key !== key) return;
    gateway.expected.delete(place.id);
    for (const { due, verdicts } of gateway.dataPlanes.values()) {
      due.delete(place.id);
      verdicts.delete(place.id);
    }
    this.#report(key, undefined);
  }

  /** Checks every upstream on every data plane of `connection`. */
  recheck(connection: string): void {
    const gateway = this.#gateways.get(connection);
    if (gateway === undefined) return;
    for (const dataPlane of gateway.dataPlanes.values()) dataPlane.answered = false;
    this.#check(connection, gateway, [...gateway.expected.keys()]);
  }

  /** The data-plane status of `connection`; `unknown` until every data plane answered or is unreachable. */
  status(connection: string): DataPlanesOfConnection | 'unknown' | undefined {
    const gateway = this.#gateways.get(connection);
    if (gateway === undefined) return undefined;
    const all = [...gateway.dataPlanes];
    if (all.some(([, { answered, failures }]) => !answered && failures < FAILURES_UNREACHABLE))
      return 'unknown';
    const unreachable = all
      .filter(([, dataPlane]) => isUnreachable(dataPlane))
      .map(([dataPlane, { problem }]) => ({ dataPlane, message: boundedMessage(problem) }))
      .sort((a, b) => (a.dataPlane < b.dataPlane ? -1 : 1));
    return {
      total: all.length,
      reachable: all.length - unreachable.length,
      ...(unreachable.length === 0 ? {} : { unreachable: unreachable.slice(0, MAX_UNREACHABLE) }),
      ...(gateway.problem === undefined ? {} : { message: boundedMessage(gateway.problem) }),
    };
  }

  /** Number of lagging or unreachable data planes, by connection with a `controlApi`. */
  lagging(): ReadonlyMap<string, number> {
    return new Map(
      [...this.#gateways].map(([connection, { dataPlanes }]) => [
        connection,
        [...dataPlanes.values()].filter((dataPlane) => isUnreachable(dataPlane) || isLagging(dataPlane))
          .length,
      ]),
    );
  }

  /** Sends no new request and resolves when all requests have ended. */
  async close(): Promise<void> {
    await this.#queue.drain();
    for (const { subscription } of this.#gateways.values()) subscription?.handle[Symbol.dispose]();
  }

  #add(work: Work): void {
    this.#queue.add(JSON.stringify(work), queueOf(work), PRIORITY.resync);
  }

  #addAfter(work: Work, delayMs: number): void {
    this.#queue.addAfter(JSON.stringify(work), delayMs, queueOf(work), PRIORITY.resync);
  }

  async #run(work: Work, signal: AbortSignal): Promise<Result> {
    switch (work.kind) {
      case 'update':
        this.update(work.connection);
        return { kind: 'done' };
      case 'check':
        return this.#checkAsDue(work.connection, work.id);
      case 'dataPlane':
        return await this.#pollDataPlane(work.connection, work.url, signal);
      default:
        return work satisfies never;
    }
  }

  #subscribe(connection: string, gateway: VerifiedGateway, ref: ServicePortRef | undefined): void {
    const service = ref === undefined ? undefined : JSON.stringify(ref);
    if (gateway.subscription?.service === service) return;
    gateway.subscription?.handle[Symbol.dispose]();
    gateway.subscription =
      ref === undefined || service === undefined
        ? undefined
        : {
            service,
            // Through the queue, because a store calls its listeners in the middle of a batch of changes.
            handle: this.#deps.source.subscribe(ref, () => this.#add({ kind: 'update', connection })),
          };
  }

  #replace(connection: string, gateway: VerifiedGateway, urls: ReadonlySet<string>): void {
    const { dataPlanes, expected } = gateway;
    const gone = [...dataPlanes.keys()].filter((url) => !urls.has(url));
    for (const url of gone) dataPlanes.delete(url);
    for (const url of urls) {
      if (dataPlanes.has(url)) continue;
      dataPlanes.set(url, newDataPlane(expected.keys()));
      this.#add({ kind: 'dataPlane', connection, url });
    }
    if (gone.length > 0) this.#reportAll(gateway, expected.keys());
  }

  #check(connection: string, { dataPlanes }: VerifiedGateway, ids: readonly UpstreamId[]): void {
    for (const [url, { due }] of dataPlanes) {
      for (const id of ids) due.add(id);
      this.#add({ kind: 'dataPlane', connection, url });
    }
  }

  /** Performs the due checks of `id`. A newer write of the same id sets new times. */
  #checkAsDue(connection: string, id: UpstreamId): Result {
    const gateway = this.#gateways.get(connection);
    const expected = gateway?.expected.get(id);
    if (gateway === undefined || expected === undefined) return { kind: 'done' };
    const now = this.#deps.clock.monotonic();
    const checksAt = expected.checksAt.filter((at) => at > now);
    if (checksAt.length < expected.checksAt.length) this.#check(connection, gateway, [id]);
    gateway.expected.set(id, { ...expected, checksAt });
    const [next] = checksAt;
    return next === undefined ? { kind: 'done' } : { kind: 'after', delayMs: next - now };
  }

  async #pollDataPlane(connection: string, url: string, signal: AbortSignal): Promise<Result> {
    const { clock, log, onChange } = this.#deps;
    const gateway = this.#gateways.get(connection);
    const dataPlane = gateway?.dataPlanes.get(url);
    const reader = this.#deps.readerOf(connection);
    // When the connection is usable again, the first list of its session triggers a recheck.
    if (gateway === undefined || dataPlane === undefined || reader === undefined) return { kind: 'done' };
    const isRemoved = () => this.#gateways.get(connection)?.dataPlanes.get(url) !== dataPlane;
    const report: Poll['report'] = (of, ids) => this.#reportAll(of, ids);
    return await poll(
      { connection, url, gateway, dataPlane, reader, isRemoved, clock, log, onChange, report },
      signal,
    );
  }

  #reportAll({ expected, dataPlanes }: VerifiedGateway, ids: Iterable<UpstreamId>): void {
    for (const id of ids) {
      const entry = expected.get(id);
      if (entry === undefined) continue;
      const summary = summarizeVerdicts(
        new Map(
          [...dataPlanes].map(([url, dataPlane]) => [
            url,
            isUnreachable(dataPlane) ? 'Unreachable' : dataPlane.verdicts.get(id),
          ]),
        ),
      );
      if (summary === undefined || isDeepStrictEqual(summary, entry.reported)) continue;
      entry.reported = summary;
      this.#report(entry.key, summary);
    }
  }

  #report(key: ObjectKey, dataPlanes: DataPlanesOfUpstream | undefined): void {
    const { namespace, name } = splitKey(key);
    const object = this.#deps.upstreams.get(namespace, name);
    if (object !== undefined && object.deletionTimestamp === undefined) {
      this.#deps.reporter.dataPlanes(object, dataPlanes);
    }
  }
}

function wholeOf(shown: string): string {
  return shown;
}

function queueOf(work: Work): string {
  return work.kind === 'dataPlane' ? dataPlaneQueue(work.connection) : LOCAL_QUEUE;
}
