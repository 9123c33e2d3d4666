import { GROUP, OPERATOR, VERSION } from '../api/group.ts';
import type { Reason } from '../api/reasons.ts';
import type { Stored } from '../model/store-view.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import type { CustomKind } from './object-writer.ts';
import { type KubeTransport, resourcePath } from './transport.ts';

export interface KubeEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: Reason;
  readonly message: string;
}

/** Tells people what they should know of an object. Never waits and never fails: an Event that is lost is only logged. */
export interface EventRecorder {
  record(kind: CustomKind, object: Stored, event: KubeEvent): void;
}

export interface EventRecorderOptions {
  readonly transport: KubeTransport;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** Names this process, e.g. the host name. */
  readonly instance: string;
  readonly signal: AbortSignal;
  /** Creating an Event in a namespace that is being deleted is 403. */
  readonly isTerminating: (namespace: string) => boolean;
}

/** The same Event about the same object within this time is one Event. */
const SAME_EVENT_MS = 300_000;
/** A burst, and then this many a minute. What is over is dropped: conditions say the same. */
interface Rate {
  readonly burst: number;
  readonly perMinute: number;
}
const PER_PROCESS: Rate = { burst: 100, perMinute: 60 };
/** One object that flaps, with another message each time, must not use up what the others need. */
const PER_OBJECT: Rate = { burst: 10, perMinute: 0.2 };
/** Entries of a map before the old ones are swept. */
const MAX_RECENT = 4096;
/** Kubernetes counts bytes. */
const MAX_NOTE_BYTES = 1024;

export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { transport, clock, random, log, instance, signal, isTerminating } = options;
  const recent = new Map<string, number>();
  const left = new Map<string, Left>();
  let leftOfProcess: Left = { tokens: PER_PROCESS.burst, at: clock.monotonic() };

  const allowed = (object: string, key: string): boolean => {
    const now = clock.monotonic();
    const last = recent.get(key);
    if (last !== undefined && now - last < SAME_EVENT_MS) return false;
    const ofObject = refilled(left.get(object), PER_OBJECT, now);
    leftOfProcess = refilled(leftOfProcess, PER_PROCESS, now);
    if (ofObject.tokens < 1 || leftOfProcess.tokens < 1) return false;
    leftOfProcess = { ...leftOfProcess, tokens: leftOfProcess.tokens - 1 };
    if (recent.size >= MAX_RECENT) {
      for (const [old, at] of recent) if (now - at >= SAME_EVENT_MS) recent.delete(old);
    }
    if (left.size >= MAX_RECENT) {
      for (const [old, one] of left) {
        if (refilled(one, PER_OBJECT, now).tokens === PER_OBJECT.burst) left.delete(old);
      }
    }
    recent.set(key, now);
    left.set(object, { ...ofObject, tokens: ofObject.tokens - 1 });
    return true;
  };

  return {
    record(kind, object, { type, reason, message }) {
      if (object.namespace !== '' && isTerminating(object.namespace)) return;
      if (!allowed(object.uid, `${kind} ${object.uid} ${reason} ${message}`)) return;
      // Kubernetes accepts Events about cluster-scoped objects only in namespace default.
      const namespace = object.namespace === '' ? 'default' : object.namespace;
      const suffix = `${clock.now().toString(16)}${Math.floor(random() * 0x10_000).toString(16)}`;
      transport
        .send({
          method: 'POST',
          path: resourcePath({ group: 'events.k8s.io', version: 'v1', plural: 'events', namespace }),
          body: {
            apiVersion: 'events.k8s.io/v1',
            kind: 'Event',
            // What is cut off may leave a character that no part of a name may end with.
            metadata: { namespace, name: `${object.name.slice(0, 200).replace(/[-.]+$/, '')}.${suffix}` },
            eventTime: new Date(clock.now()).toISOString().replace('Z', '000Z'),
            reportingController: `${GROUP}/${OPERATOR}`,
            reportingInstance: instance,
            action: 'Reconcile',
            type,
            reason,
            note: shortened(message),
            regarding: {
              apiVersion: `${GROUP}/${VERSION}`,
              kind,
              name: object.name,
              uid: object.uid,
              ...(object.namespace === '' ? {} : { namespace: object.namespace }),
            },
          },
          signal,
        })
        .catch((error: unknown) => {
          if (!signal.aborted)
            log.debug({ err: error, reason, name: object.name }, 'an Event could not be written');
        });
    },
  };
}

/** Events that may still be written, as of a monotonic time. */
interface Left {
  readonly tokens: number;
  readonly at: number;
}

function refilled(left: Left | undefined, { burst, perMinute }: Rate, now: number): Left {
  if (left === undefined) return { tokens: burst, at: now };
  return { tokens: Math.min(burst, left.tokens + ((now - left.at) / 60_000) * perMinute), at: now };
}

function shortened(message: string): string {
  if (Buffer.byteLength(message) <= MAX_NOTE_BYTES) return message;
  // `stream` leaves out the character that the cut goes through.
  const start = new TextDecoder().decode(Buffer.from(message).subarray(0, MAX_NOTE_BYTES - 3), {
    stream: true,
  });
  return `${start}...`;
}
