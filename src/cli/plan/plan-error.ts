/** What a plan was to be made from cannot be used; the message names where it is and what is wrong. */
export class PlanError extends Error {
  override readonly name = 'PlanError';
}
