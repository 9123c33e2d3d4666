import { GROUP, OPERATOR, VERSION } from '../api/group.ts';
import type { Reason } from '../api/reasons.ts';
import type { Stored } from '../model/store-view.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import { EventQuota } from './event-quota.ts';
import type { CustomKind } from './object-writer.ts';
import { type KubeTransport, resourcePath } from './transport.ts';

export interface KubeEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: Reason;
  readonly message: string;
}

/** Writes Events. `record` returns at once and never throws: an Event that cannot be written is only logged. */
export interface EventRecorder {
  record(kind: CustomKind, object: Stored, event: KubeEvent): void;
}

export interface EventRecorderOptions {
  readonly transport: KubeTransport;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** Identifies this process, for example the host name. */
  readonly instance: string;
  readonly signal: AbortSignal;
  /** The API server denies (403) Events in a namespace that is being deleted. */
  readonly isTerminating: (namespace: string) => boolean;
}

/** The API server's limit for `note`, in bytes. */
const MAX_NOTE_BYTES = 1024;

export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { transport, clock, log, signal, isTerminating } = options;
  const quota = new EventQuota(clock);
  return {
    record(kind, object, event) {
      const { reason, message } = event;
      if (object.namespace !== '' && isTerminating(object.namespace)) return;
      if (!quota.take(object.uid, `${kind} ${object.uid} ${reason} ${message}`)) return;
      // Kubernetes accepts Events about cluster-scoped objects only in namespace default.
      const namespace = object.namespace === '' ? 'default' : object.namespace;
      transport
        .send({
          method: 'POST',
          path: resourcePath({ group: 'events.k8s.io', version: 'v1', plural: 'events', namespace }),
          body: eventBody(options, kind, object, event, namespace),
          signal,
        })
        .catch((error: unknown) => {
          if (!signal.aborted)
            log.debug({ err: error, reason, name: object.name }, 'could not write an Event');
        });
    },
  };
}

function eventBody(
  { clock, random, instance }: EventRecorderOptions,
  kind: CustomKind,
  object: Stored,
  { type, reason, message }: KubeEvent,
  namespace: string,
): object {
  const suffix = `${clock.now().toString(16)}${Math.floor(random() * 0x10_000).toString(16)}`;
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    // After the cut the name may end with `-` or `.`, which is not a valid end of a DNS label.
    metadata: { namespace, name: `${object.name.slice(0, 200).replace(/[-.]+$/, '')}.${suffix}` },
    eventTime: new Date(clock.now()).toISOString().replace('Z', '000Z'),
    reportingController: `${GROUP}/${OPERATOR}`,
    reportingInstance: instance,
    action: 'Reconcile',
    type,
    reason,
    note: boundedNote(message),
    regarding: {
      apiVersion: `${GROUP}/${VERSION}`,
      kind,
      name: object.name,
      uid: object.uid,
      ...(object.namespace === '' ? {} : { namespace: object.namespace }),
    },
  };
}

function boundedNote(message: string): string {
  if (Buffer.byteLength(message) <= MAX_NOTE_BYTES) return message;
  // With `stream`, the decoder drops a character that the cut has split.
  const start = new TextDecoder().decode(Buffer.from(message).subarray(0, MAX_NOTE_BYTES - 3), {
    stream: true,
  });
  return `${start}...`;
}
