import { isDeepStrictEqual } from 'node:util';
import {
  connectionStatus,
  registryStatus,
  type Status,
  type StatusContext,
  setStatus,
  upstreamStatus,
} from '../../decide/build-status.ts';
import type { DataPlanesOfUpstream } from '../../decide/data-planes.ts';
import { kubeTime } from '../../decide/status.ts';
import type { EventRecorder, KubeEvent } from '../../kube/event-recorder.ts';
import type { CustomKind } from '../../kube/object-writer.ts';
import type { ObjectKey } from '../../model/keys.ts';
import type {
  CustomObject,
  GatewayConnection,
  GatewayUpstream,
  GatewayUpstreamSet,
  ServiceRegistry,
} from '../../model/objects.ts';
import type { ConnectionOutcome, RegistryOutcome, SetOutcome, UpstreamOutcome } from '../../model/outcome.ts';
import type { Sample } from '../../runtime/metrics.ts';
import { depthSamples } from '../instruments.ts';
import type { ObjectStates } from '../object-state.ts';
import { Announcer, announcedBefore } from './announcer.ts';
import { StatusQueue, type StatusQueueOptions } from './queue.ts';
import type { Report } from './report.ts';
import { Reports, reportKey } from './reports.ts';

/**
 * Turns outcomes into status, Events and log lines. It is the only writer of status. It ignores a GatewayUpstream whose state was
 * dropped.
 */
export interface Reporter {
  upstream(object: GatewayUpstream, outcome: UpstreamOutcome): void;
  connection(object: GatewayConnection, outcome: ConnectionOutcome): void;
  set(object: GatewayUpstreamSet, outcome: SetOutcome): void;
  registry(object: ServiceRegistry, outcome: RegistryOutcome): void;
  /** Takes an object as the API server has it now, whether or not it needs a reconcile. */
  seen(kind: CustomKind, object: Reported): void;
  /** Reports data planes of an upstream whose outcome was reported before. The rest of its status is unchanged. */
  dataPlanes(object: GatewayUpstream, dataPlanes: DataPlanesOfUpstream | undefined): void;
  event(object: GatewayUpstream | GatewayConnection, event: KubeEvent): void;
  /** Drops the report of a deleted object. */
  forget(kind: Exclude<CustomKind, 'GatewayUpstream'>, key: ObjectKey): void;
  /** Number of waiting and running status writes, as metric samples. */
  depths(): readonly Sample[];
  /** Starts no new write and resolves when running writes have ended. */
  close(): Promise<void>;
}

export interface ReporterOptions extends StatusQueueOptions {
  readonly states: ObjectStates;
  readonly events: EventRecorder;
}

type Reported = CustomObject<unknown, Status>;

const NEVER_WRITTEN: readonly number[] = [];

export function createReporter(options: ReporterOptions): Reporter {
  return new StatusReporter(options);
}

class StatusReporter implements Reporter {
  readonly #options: ReporterOptions;
  readonly #reports: Reports;
  readonly #queue: StatusQueue;
  readonly #announcer: Announcer;

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#reports = new Reports(options.states);
    this.#queue = new StatusQueue(options, this.#reports);
    this.#announcer = new Announcer(options.events, options.log);
  }

  upstream(object: GatewayUpstream, outcome: UpstreamOutcome): void {
    const wanted = this.#want('GatewayUpstream', object, (context) => upstreamStatus(context, outcome));
    if (wanted === undefined) return;
    const { report, previous } = wanted;
    this.#announcer.summary(report, previous, outcome.ready);
    if (outcome.removalHeld !== 'nothing') this.#announcer.guard(report, previous, outcome.removalHeld);
  }

  connection(object: GatewayConnection, outcome: ConnectionOutcome): void {
    const wanted = this.#want('GatewayConnection', object, (context) => connectionStatus(context, outcome));
    if (wanted !== undefined) this.#announcer.summary(wanted.report, wanted.previous, outcome.ready);
  }

  set(object: GatewayUpstreamSet, outcome: SetOutcome): void {
    const wanted = this.#want('GatewayUpstreamSet', object, (context) => setStatus(context, outcome));
    if (wanted === undefined) return;
    const { report, previous } = wanted;
    this.#announcer.summary(report, previous, outcome.ready);
    this.#announcer.guard(report, previous, outcome.pruningHeld);
  }

  registry(object: ServiceRegistry, outcome: RegistryOutcome): void {
    const wanted = this.#want('ServiceRegistry', object, (context) => registryStatus(context, outcome));
    // Every new ServiceRegistry waits for its first answer.
    if (wanted === undefined || outcome.ready.reason === 'Pending') return;
    this.#announcer.summary(wanted.report, wanted.previous, outcome.ready);
  }

  seen(kind: CustomKind, object: Reported): void {
    const report = this.#reports.get(reportKey(kind, object));
    if (report === undefined || report.object.uid !== object.uid) return;
    // Saves memory: the previous object is released, and equal statuses share one copy.
    report.object = object;
    const { status } = object;
    if (isDeepStrictEqual(report.written, status)) {
      if (report.wanted === report.written) report.wanted = status ?? report.wanted;
      report.written = status;
    } else if (!report.isOwn) {
      // The last leader wrote it, after this process had read the object. An event of an own write may be late instead.
      report.written = status;
      this.#queue.add(report);
    }
  }

  dataPlanes(object: GatewayUpstream, dataPlanes: DataPlanesOfUpstream | undefined): void {
    this.#want('GatewayUpstream', object, ({ previous }) => {
      const { dataPlanes: _dataPlanes, ...rest } = { dataPlanes: undefined, ...previous };
      return dataPlanes === undefined ? rest : { ...rest, dataPlanes };
    });
  }

  event(object: GatewayUpstream | GatewayConnection, event: KubeEvent): void {
    const kind = 'connection' in object ? 'GatewayUpstream' : 'GatewayConnection';
    this.#options.events.record(kind, object, event);
  }

  forget(kind: Exclude<CustomKind, 'GatewayUpstream'>, key: ObjectKey): void {
    this.#reports.drop(kind, key);
  }

  depths(): readonly Sample[] {
    return depthSamples(this.#queue.depths());
  }

  async close(): Promise<void> {
    await this.#queue.drain();
  }

  /** Makes the result of `build` the wanted status of `object`. */
  #want(
    kind: CustomKind,
    object: Reported,
    build: (context: StatusContext) => Status,
  ): { readonly previous: Status | undefined; readonly report: Report } | undefined {
    const { clock } = this.#options;
    const holder = this.#reports.holderOf(kind, object);
    if (holder === undefined) return undefined;
    if (holder.report?.object.uid !== object.uid) holder.report = newReport(kind, object, clock.monotonic());
    const { report } = holder;
    const previous = report.wanted;
    const now = () => kubeTime(clock.now());
    report.object = object;
    report.wanted = build({ previous, generation: object.generation, now });
    if (report.written !== undefined && isDeepStrictEqual(report.wanted, report.written)) {
      // Equal statuses share one copy, to save memory.
      report.wanted = report.written;
      return { previous, report };
    }
    if (!isDeepStrictEqual(report.wanted, previous)) report.changedAt = clock.monotonic();
    this.#queue.add(report);
    return { previous, report };
  }
}

function newReport(kind: CustomKind, object: Reported, now: number): Report {
  const { status } = object;
  return {
    kind,
    object,
    written: status,
    wanted: status ?? {},
    changedAt: now,
    isOwn: false,
    writtenAt: NEVER_WRITTEN,
    announced: announcedBefore(kind, status),
  };
}
