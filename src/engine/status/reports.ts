import type { CustomKind } from '../../kube/object-writer.ts';
import { type ObjectKey, objectKey } from '../../model/keys.ts';
import type { Stored } from '../../model/store-view.ts';
import type { ObjectStates } from '../object-state.ts';
import type { Report } from './report.ts';

/** The key of an object in the queue of status writes. */
export type ReportKey = `${CustomKind} ${ObjectKey}`;

export function reportKey(kind: CustomKind, { namespace, name }: Stored): ReportKey {
  return `${kind} ${objectKey(namespace, name)}`;
}

/** Contains the report of an object. */
interface Holder {
  report: Report | undefined;
}

/** Finds reports. The report of a GatewayUpstream is part of its `ObjectState`; the others are stored here. */
export class Reports {
  readonly #states: ObjectStates;
  readonly #others = new Map<ReportKey, Holder>();

  constructor(states: ObjectStates) {
    this.#states = states;
  }

  get(key: ReportKey): Report | undefined {
    const [kind, object] = key.split(' ') as [CustomKind, ObjectKey];
    return kind === 'GatewayUpstream' ? this.#states.get(object)?.report : this.#others.get(key)?.report;
  }

  /** Undefined if the GatewayUpstream was deleted or replaced: nothing is reported for it. */
  holderOf(kind: CustomKind, object: Stored): Holder | undefined {
    if (kind === 'GatewayUpstream') return this.#states.of(object);
    const key = reportKey(kind, object);
    let holder = this.#others.get(key);
    if (holder === undefined) {
      holder = { report: undefined };
      this.#others.set(key, holder);
    }
    return holder;
  }

  /** Drops the report of a deleted object that is not a GatewayUpstream. */
  drop(kind: CustomKind, key: ObjectKey): void {
    this.#others.delete(`${kind} ${key}`);
  }
}
