import { isDeepStrictEqual } from 'node:util';
import { connectionStatus, type Status, setStatus, upstreamStatus } from '../../decide/build-status.ts';
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
} from '../../model/objects.ts';
import type { ConnectionOutcome, SetOutcome, UpstreamOutcome } from '../../model/outcome.ts';
import type { Sample } from '../../runtime/metrics.ts';
import { depthSamples } from '../instruments.ts';
import type { ObjectStates } from '../object-state.ts';
import { Announcer, announcedBefore } from './announcer.ts';
import { StatusQueue, type StatusQueueOptions } from './queue.ts';
import type { Report } from './report.ts';
import { Reports } from './reports.ts';

/**
 * Turns outcomes into status, Events and log lines. The only writer of status. Reports nothing of a GatewayUpstream whose
 * state was dropped.
 */
export interface Reporter {
  upstream(object: GatewayUpstream, outcome: UpstreamOutcome): void;
  connection(object: GatewayConnection, outcome: ConnectionOutcome): void;
  set(object: GatewayUpstreamSet, outcome: SetOutcome): void;
  /** The object as it is now; only its status, or nothing that matters to a reconcile, changed. */
  seen(object: GatewayUpstream): void;
  /** What data planes serve of an upstream whose outcome was reported before; the rest of its status stays. */
  dataPlanes(object: GatewayUpstream, dataPlanes: DataPlanesOfUpstream | undefined): void;
  event(object: GatewayUpstream | GatewayConnection, event: KubeEvent): void;
  /** The object is gone. */
  forget(kind: Exclude<CustomKind, 'GatewayUpstream'>, key: ObjectKey): void;
  /** Status writes that wait or run, as samples of a metric. */
  depths(): readonly Sample[];
  /** Writes nothing new and waits for what is under way. */
  close(): Promise<void>;
}

export interface ReporterOptions extends StatusQueueOptions {
  readonly states: ObjectStates;
  readonly events: EventRecorder;
}

type Reported = CustomObject<unknown, Status>;

const NEVER_WRITTEN: readonly number[] = [];

export function createReporter(options: ReporterOptions): Reporter {
  const { clock, events, log } = options;
  const reports = new Reports(options.states);
  const queue = new StatusQueue(options, reports);
  const announcer = new Announcer(events, log);
  const now = () => kubeTime(clock.now());

  /** Makes `next` the status that `object` should have. */
  const want = (
    kind: CustomKind,
    object: Reported,
    next: (previous: Status | undefined) => Status,
  ): { readonly previous: Status | undefined; readonly report: Report } | undefined => {
    const holder = reports.holderOf(kind, object);
    if (holder === undefined) return undefined;
    if (holder.report?.object.uid !== object.uid) holder.report = newReport(kind, object, clock.monotonic());
    const { report } = holder;
    const previous = report.wanted;
    report.object = object;
    report.wanted = next(previous);
    if (report.written !== undefined && isDeepStrictEqual(report.wanted, report.written)) {
      // One copy is enough.
      report.wanted = report.written;
      return { previous, report };
    }
    if (!isDeepStrictEqual(report.wanted, previous)) report.changedAt = clock.monotonic();
    queue.add(report);
    return { previous, report };
  };

  return {
    upstream(object, outcome) {
      const { generation } = object;
      const wanted = want('GatewayUpstream', object, (previous) =>
        upstreamStatus({ previous, generation, now }, outcome),
      );
      if (wanted === undefined) return;
      const { report, previous } = wanted;
      announcer.summary(report, previous, outcome.ready);
      if (outcome.removalHeld !== 'nothing') announcer.guard(report, previous, outcome.removalHeld);
    },

    connection(object, outcome) {
      const { generation } = object;
      const wanted = want('GatewayConnection', object, (previous) =>
        connectionStatus({ previous, generation, now }, outcome),
      );
      if (wanted !== undefined) announcer.summary(wanted.report, wanted.previous, outcome.ready);
    },

    set(object, outcome) {
      const { generation } = object;
      const wanted = want('GatewayUpstreamSet', object, (previous) =>
        setStatus({ previous, generation, now }, outcome),
      );
      if (wanted === undefined) return;
      const { report, previous } = wanted;
      announcer.summary(report, previous, outcome.ready);
      announcer.guard(report, previous, outcome.pruningHeld);
    },

    seen(object) {
      const report = options.states.of(object)?.report;
      if (report === undefined) return;
      // The object before is not needed any more, and one copy of the status is enough.
      report.object = object;
      const { status } = object;
      if (status === undefined || !isDeepStrictEqual(report.written, status)) return;
      if (report.wanted === report.written) report.wanted = status;
      report.written = status;
    },

    dataPlanes(object, dataPlanes) {
      want('GatewayUpstream', object, (before) => {
        const { dataPlanes: _dataPlanes, ...rest } = { dataPlanes: undefined, ...before };
        return dataPlanes === undefined ? rest : { ...rest, dataPlanes };
      });
    },

    event(object, event) {
      events.record('connection' in object ? 'GatewayUpstream' : 'GatewayConnection', object, event);
    },

    forget: (kind, key) => reports.drop(kind, key),
    depths: () => depthSamples(queue.depths()),
    close: () => queue.drain(),
  };
}

function newReport(kind: CustomKind, object: Reported, now: number): Report {
  const { status } = object;
  return {
    kind,
    object,
    written: status,
    wanted: status ?? {},
    changedAt: now,
    writtenAt: NEVER_WRITTEN,
    announced: announcedBefore(kind, status),
  };
}
