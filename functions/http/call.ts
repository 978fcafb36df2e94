/** What a handler gets and gives: DECODE has happened before it, ENCODE happens after it. */
import type { AnswerOf, BodyOf, IsPublic, OperationId, ParamsOf, QueryOf } from "#api/routes.ts";
import type { ExperimentId } from "#domain/id.ts";
import type { User } from "./deps.ts";

export interface Call<K extends OperationId> {
  readonly user: IsPublic<K> extends true ? undefined : User;
  readonly params: ParamsOf<K>;
  readonly query: QueryOf<K>;
  readonly body: BodyOf<K>;
  readonly requestId: string;
  /** What the request's new experiment is called, so that a repetition makes no other; `undefined` without an idempotency key. */
  readonly newId: ExperimentId | undefined;
  /** Its body is read already. */
  readonly request: Request;
  /** Asks again what was asked before the handler: throws when the user is no longer known, or may no longer do this. */
  readonly recheck: () => Promise<void>;
}

/** Routes that answer bytes give the whole response. */
export type Handler<K extends OperationId> = (call: Call<K>) => Promise<AnswerOf<K> extends undefined ? Response : AnswerOf<K>>;
export type Handlers<K extends OperationId = OperationId> = { readonly [N in K]: Handler<N> };
