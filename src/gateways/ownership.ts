import type { ObservedOwner } from '../model/ownership.ts';

/**
 * How a gateway stores the owner of an upstream: in labels or tags of the upstream, or in a separate record. The driver of a
 * gateway without labels maintains such a record.
 */
export interface OwnershipMarks {
  /** Where ownership is stored, for messages: `labels`. */
  readonly keptIn: string;
  /** The stored form of `owner`, by name. */
  encode(owner: ObservedOwner): Readonly<Record<string, string>>;
  /** Undefined if `marks` contains none of this operator. */
  decode(marks: Readonly<Record<string, string>>): ObservedOwner | undefined;
}
