import { isDeepStrictEqual } from 'node:util';
import { MAX_UNREACHABLE } from '../../api/gateway-connection.ts';
import {
  type DataPlanesOfConnection,
  type DataPlanesOfUpstream,
  PROOF_GRACE_MS,
  summarizeVerdicts,
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
  type Followed,
  isBehind,
  isUnreachable,
  newDataPlane,
  newFollowed,
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
  /** The only namespaces whose Services are known. Empty: all. */
  readonly onlyNamespaces: readonly string[];
  readonly reporter: Reporter;
  readonly pace: Pace;
  readonly clock: Clock;
  readonly log: Logger;
  /** What `status` says of a connection changed. */
  readonly onChange: (connection: string) => void;
}

/** After a write, every data plane is asked at these times. */
const ASKED_AFTER_MS = [200, 1000, PROOF_GRACE_MS] as const;
const CONCURRENCY = 8;

/** What a key in the queue stands for. */
type Work =
  | { readonly kind: 'follow'; readonly connection: string }
  | { readonly kind: 'ask'; readonly connection: string; readonly id: UpstreamId }
  | { readonly kind: 'dataPlane'; readonly connection: string; readonly url: string };

/** The queue of work that asks no data plane. */
const OWN_QUEUE = 'proof';
const dataPlaneQueue = (connection: string): string => `data planes of ${connection}`;

/**
 * Asks the data planes of each gateway whether they serve what was written last. It has a queue of its own and writes
 * nothing but counts and lists in status, so that neither a write nor a condition depends on it.
 */
export class DataPlaneVerifier {
  readonly #deps: DataPlaneVerifierDeps;
  readonly #followed = new Map<string, Followed>();
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

  /** The spec of a connection changed, or it came or went. */
  follow(connection: string): void {
    const object = this.#deps.connections.get('', connection);
    // A spec that this program cannot read says nothing new.
    if (object !== undefined && !object.spec.ok) return;
    const controlApi =
      object?.spec.ok === true ? dataPlanesOf(this.#deps.vendorOf, object.spec.value) : undefined;
    const before = this.#followed.get(connection);
    if (controlApi === undefined) {
      before?.subscription?.handle[Symbol.dispose]();
      this.#followed.delete(connection);
      this.#queue.release(dataPlaneQueue(connection));
      for (const { key } of before?.expected.values() ?? []) {
        const state = this.#deps.states.get(key);
        if (state !== undefined) state.verified = undefined;
        this.#report(key, undefined);
      }
      this.#deps.onChange(connection);
      return;
    }
    const followed = before ?? newFollowed();
    this.#followed.set(connection, followed);
    this.#queue.setConcurrency(dataPlaneQueue(connection), CONCURRENCY, { slow: SLOW_CONCURRENCY });
    this.#subscribe(connection, followed, controlApi.kind === 'service' ? controlApi.ref : undefined);
    const found =
      controlApi.kind === 'service'
        ? dataPlaneAddresses(this.#deps.source, controlApi, this.#deps.onlyNamespaces)
        : { urls: controlApi.urls };
    followed.problem = found.problem;
    if (found.urls !== undefined) this.#replace(connection, followed, new Set(found.urls));
    this.#deps.onChange(connection);
  }

  /**
   * `object` is programmed: from now on data planes should show `content`. `written`: it was written just now, in place of
   * `replaced`.
   */
  expect(
    object: GatewayUpstream,
    content: ObservedUpstream,
    written: { readonly replaced: ObservedUpstream | undefined } | undefined,
  ): void {
    const { connection } = object;
    const followed = this.#followed.get(connection);
    const reader = this.#deps.readerOf(connection);
    if (followed === undefined) {
      // The status still reports data planes of a time when the connection had some.
      this.#deps.reporter.dataPlanes(object, undefined);
      return;
    }
    const state = this.#deps.states.of(object);
    if (reader === undefined || state === undefined) return;
    const { key } = state;
    const { id } = content;
    const now = this.#deps.clock.monotonic();
    // A change of another field by its owner is not older content.
    const part = object.spec.ok && object.spec.value.manage === 'Nodes' ? nodesIn : wholeOf;
    const shown = part(reader.shown(content.canonical));
    const known = followed.expected.get(id);
    if (written === undefined && known?.shown === shown && known.key === key) return;
    const replaced =
      written?.replaced === undefined ? undefined : part(reader.shown(written.replaced.canonical));
    const superseded = [
      ...(known?.superseded.filter(({ at }) => now - at < PROOF_GRACE_MS) ?? []),
      ...[known?.shown, replaced].flatMap((was) => (was === undefined ? [] : [{ shown: was, at: now }])),
    ];
    state.verified = { connection, id };
    followed.expected.set(id, {
      key,
      part,
      shown,
      superseded,
      createdAt: written !== undefined && replaced === undefined ? now : known?.createdAt,
      asks: written === undefined ? [] : ASKED_AFTER_MS.map((ms) => now + ms),
      reported: known?.reported,
    });
    if (written !== undefined) this.#addAfter({ kind: 'ask', connection, id }, ASKED_AFTER_MS[0]);
    else this.#ask(connection, followed, [id]);
  }

  /** Nothing is expected of data planes for the object any more. */
  forget(key: ObjectKey): void {
    const state = this.#deps.states.get(key);
    const place = state?.verified;
    if (state === undefined || place === undefined) return;
    state.verified = undefined;
    const followed = this.#followed.get(place.connection);
    if (followed?.expected.get(place.id)?.key !== key) return;
    followed.expected.delete(place.id);
    for (const { due, verdicts } of followed.dataPlanes.values()) {
      due.delete(place.id);
      verdicts.delete(place.id);
    }
    this.#report(key, undefined);
  }

  /** Asks every data plane of `connection` for everything. */
  recheck(connection: string): void {
    const followed = this.#followed.get(connection);
    if (followed === undefined) return;
    for (const dataPlane of followed.dataPlanes.values()) dataPlane.asked = false;
    this.#ask(connection, followed, [...followed.expected.keys()]);
  }

  /** What the status of `connection` says; `unknown` until every data plane was asked. */
  status(connection: string): DataPlanesOfConnection | 'unknown' | undefined {
    const followed = this.#followed.get(connection);
    if (followed === undefined) return undefined;
    const all = [...followed.dataPlanes];
    if (all.some(([, { asked, failures }]) => !asked && failures < FAILURES_UNREACHABLE)) return 'unknown';
    const unreachable = all
      .filter(([, dataPlane]) => isUnreachable(dataPlane))
      .map(([dataPlane, { problem }]) => ({ dataPlane, message: boundedMessage(problem) }))
      .sort((a, b) => (a.dataPlane < b.dataPlane ? -1 : 1));
    return {
      total: all.length,
      reachable: all.length - unreachable.length,
      ...(unreachable.length === 0 ? {} : { unreachable: unreachable.slice(0, MAX_UNREACHABLE) }),
      ...(followed.problem === undefined ? {} : { message: boundedMessage(followed.problem) }),
    };
  }

  /** How many data planes of each connection with `controlApi` lag or cannot be asked. */
  lagging(): ReadonlyMap<string, number> {
    return new Map(
      [...this.#followed].map(([connection, { dataPlanes }]) => [
        connection,
        [...dataPlanes.values()].filter((dataPlane) => isUnreachable(dataPlane) || isBehind(dataPlane))
          .length,
      ]),
    );
  }

  /** Asks nothing more, and resolves when no request is left. */
  async close(): Promise<void> {
    await this.#queue.drain();
    for (const { subscription } of this.#followed.values()) subscription?.handle[Symbol.dispose]();
  }

  #add(work: Work): void {
    this.#queue.add(JSON.stringify(work), queueOf(work), PRIORITY.resync);
  }

  #addAfter(work: Work, delayMs: number): void {
    this.#queue.addAfter(JSON.stringify(work), delayMs, queueOf(work), PRIORITY.resync);
  }

  async #run(work: Work, signal: AbortSignal): Promise<Result> {
    switch (work.kind) {
      case 'follow':
        this.follow(work.connection);
        return { kind: 'done' };
      case 'ask':
        return this.#askAsDue(work.connection, work.id);
      case 'dataPlane':
        return await this.#askDataPlane(work.connection, work.url, signal);
      default:
        return work satisfies never;
    }
  }

  #subscribe(connection: string, followed: Followed, ref: ServicePortRef | undefined): void {
    const service = ref === undefined ? undefined : JSON.stringify(ref);
    if (followed.subscription?.service === service) return;
    followed.subscription?.handle[Symbol.dispose]();
    followed.subscription =
      ref === undefined || service === undefined
        ? undefined
        : {
            service,
            // A store notifies of each change before it makes the next one.
            handle: this.#deps.source.subscribe(ref, () => this.#add({ kind: 'follow', connection })),
          };
  }

  #replace(connection: string, followed: Followed, urls: ReadonlySet<string>): void {
    const { dataPlanes, expected } = followed;
    const gone = [...dataPlanes.keys()].filter((url) => !urls.has(url));
    for (const url of gone) dataPlanes.delete(url);
    for (const url of urls) {
      if (dataPlanes.has(url)) continue;
      dataPlanes.set(url, newDataPlane(expected.keys()));
      this.#add({ kind: 'dataPlane', connection, url });
    }
    if (gone.length > 0) this.#reportAll(followed, expected.keys());
  }

  #ask(connection: string, { dataPlanes }: Followed, ids: readonly UpstreamId[]): void {
    for (const [url, { due }] of dataPlanes) {
      for (const id of ids) due.add(id);
      this.#add({ kind: 'dataPlane', connection, url });
    }
  }

  /** A newer write of the same id has its own times. */
  #askAsDue(connection: string, id: UpstreamId): Result {
    const followed = this.#followed.get(connection);
    const expected = followed?.expected.get(id);
    if (followed === undefined || expected === undefined) return { kind: 'done' };
    const now = this.#deps.clock.monotonic();
    const asks = expected.asks.filter((at) => at > now);
    if (asks.length < expected.asks.length) this.#ask(connection, followed, [id]);
    followed.expected.set(id, { ...expected, asks });
    const [next] = asks;
    return next === undefined ? { kind: 'done' } : { kind: 'after', delayMs: next - now };
  }

  async #askDataPlane(connection: string, url: string, signal: AbortSignal): Promise<Result> {
    const { clock, log, onChange } = this.#deps;
    const followed = this.#followed.get(connection);
    const dataPlane = followed?.dataPlanes.get(url);
    const reader = this.#deps.readerOf(connection);
    // The list of a session that comes back asks again.
    if (followed === undefined || dataPlane === undefined || reader === undefined) return { kind: 'done' };
    const isGone = () => this.#followed.get(connection)?.dataPlanes.get(url) !== dataPlane;
    const report: Poll['report'] = (of, ids) => this.#reportAll(of, ids);
    return await poll(
      { connection, url, followed, dataPlane, reader, isGone, clock, log, onChange, report },
      signal,
    );
  }

  #reportAll({ expected, dataPlanes }: Followed, ids: Iterable<UpstreamId>): void {
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
  return work.kind === 'dataPlane' ? dataPlaneQueue(work.connection) : OWN_QUEUE;
}
