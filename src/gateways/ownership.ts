import type { ObservedOwner } from '../model/ownership.ts';

/**
 * How a kind of gateway keeps whose an upstream is: as labels or tags of the upstream, or in a record beside it. A gateway
 * that has no place for marks gets a driver that keeps such a record.
 */
export interface OwnershipMarks {
  /** Where the marks are kept, in the words of a message: `labels`. */
  readonly keptIn: string;
  /** The marks of `owner`, by name. */
  encode(owner: ObservedOwner): Readonly<Record<string, string>>;
  /** Undefined: there is no mark of this operator among them. */
  decode(marks: Readonly<Record<string, string>>): ObservedOwner | undefined;
}
