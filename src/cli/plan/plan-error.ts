/** The input of a plan is invalid. The message says where and what is wrong. */
export class PlanError extends Error {
  override readonly name = 'PlanError';
}
