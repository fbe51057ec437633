/* The lifecycle protocol of docs/lifecycle.md, for `spin`. One instance, its record, its workers, its exchange.
 *
 * Every atomic step is one Lua script of state/lua/, one request at the exchange, or one tick of the clock. Workers may
 * stop between any two steps for any time (a pause) or for ever (a kill); messages may come late, doubled or never.
 * Nothing is counted up: times are what is left of them (`lease` > 0 is a live lease, `fence` > 0 a fence ahead), a run is
 * current, asked to stop or told clean, a message current or stale. So the number of runs, iterations, kills, stops and
 * ticks has no bound, and yet there are only finitely many states.
 *
 * Configurations (cpp): CLOSE  a cleanup may send orders of its own, which never rest (closing, unwinding)
 *                       LAG    the open-orders list lags longer than the fence's margin; ids are known (order_ids, intents)
 *                       FLAKY  the list may leave out what rests, but not twice in a row
 *                       RARE   with LIVE: the next scheduled iteration is too far away to matter
 *                       LIVE   due times, the sweep, wake-ups, and a moment after which nothing fails any more
 * BROKEN is the rule that is left out, ONLY the one invariant that is checked (0: all of them). See check.py.
 */
#define STOPPED  0
#define RUNNING  1
#define STOPPING 2
#define FAILED   3

#define NOBODY 0
#define DEAD   3  /* its token is in the record, its process is gone */

#ifndef LEASE
#define LEASE  2  /* an iteration's lease */
#endif
#define CLEASE 2  /* a cleanup's lease */
#ifndef FENCE
#define FENCE  2  /* window + margin; the exchange accepts until just before it */
#endif
#define NO_BASE 3
#define UNSEEN 3  /* LAG: how long after its acceptance the list does not show an order */

/* How many may be at work at once, zombies counted; how many requests may be on their way. */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef CLEANERS
#define CLEANERS 2
#endif
#ifndef REQUESTS
#define REQUESTS 2
#endif

#define GRACE    1
#define INTERVAL 1
#define RESEND   1
#define NEVER    7

/* What a worker is at. */
#define IDLE   0
#define RUN    1  /* between two requests */
#define UNSENT 2  /* authorised, about to send */
#define AWAIT  3  /* sent, no answer yet */

/* What a cleanup is at, beyond IDLE. */
#define C_LEASE  4  /* waits for the iteration in flight */
#define C_FENCE  5  /* waits for the fence */
#define C_ASK    6  /* asks by client order id */
#define C_LIST   7
#define C_CLOSE  1  /* between two orders of its own */
#define C_FINISH 8
/* UNSENT and AWAIT as for a worker */

/* Whose run it is, by what has been said about it. */
#define CURRENT   0
#define ASKED     1  /* its stop was requested */
#define TOLD      2  /* it was reported stopped, clean */

/* Which rule is left out; what each of them means is said in variants.py. */
mtype = { none,
  nofence, nophase, notoken, noexpiry, latesign,
  resetfence, unresolved, anycommit, latecommit, nodrain, lateboth,
  nolease, notick, noepoch,
  nogate, nowait, skipfence, listfails, onelist, noask, noids,
  anyfinish, finishearly, startfence, forgetintents,
  forgetstops, forgetruns, forgetwakes, nosweepclaim, noretry
};

#ifndef BROKEN
#define BROKEN none
#endif
#ifndef ONLY
#define ONLY 0
#endif

#define REQUIRE(number, condition) assert((condition) || (ONLY != 0 && ONLY != number))

typedef Worker {
  unsigned at : 2;
  unsigned left : 2;    /* UNSENT: how long the signature is good */
  unsigned of_run : 2;
  unsigned unsure : 1;  /* a request of this iteration has no answer */
#ifdef LIVE
  unsigned wake : 1;    /* runs for a wake-up, beside the schedule */
#endif
};

typedef Cleaner {
  unsigned at : 4;
  unsigned empties : 2;   /* empty lists in a row */
#ifdef CLOSE
  unsigned left : 2;
  unsigned told : 1;
  unsigned second : 1;  /* behind the position policy */
  unsigned unsure : 1;
#endif
#ifdef FLAKY
  unsigned hid : 1;     /* its last list left something out */
#endif
#ifdef LIVE
  unsigned polled : 1;
#endif
};

typedef Request {
  unsigned left : 2;    /* how long the exchange accepts it; 0: there is none */
  unsigned told : 1;
  unsigned waiter : 3;  /* worker 1 or 2, cleaner 3 or 4, nobody 0 */
#ifdef CLOSE
  unsigned ioc : 1;
#endif
};

/* The record in Redis. */
unsigned phase : 2;
unsigned holder : 2;
unsigned lease : 2;
unsigned fence : 2;
unsigned fence_base : 2;
unsigned cleanup_holder : 2;
unsigned cleanup_lease : 2;
#ifdef CLOSE
unsigned cleanup_fence_base : 2 = NO_BASE;
#endif
#ifdef LIVE
unsigned due : 1;
unsigned look_at : 3 = NEVER;
unsigned woken : 1;
unsigned again : 1;
/* Messages under way, once nothing is lost any more; before that any message may come at any time. */
unsigned m_iterate : 1;
unsigned m_wake : 1;
unsigned m_cleanup : 1;
unsigned calm : 1;
#endif

/* The exchange. */
Request flying[2];
#ifdef LAG
/* Own orders that rest, by who knows of them, and how long the list does not show them. */
typedef Orders { unsigned rest : 1; unsigned unseen : 2 };
Orders fresh[3];            /* placed by an iteration that has not committed yet; intents too */
Orders intent;              /* authorised and never told of */
Orders known;               /* the record holds their ids */
Orders stray;               /* only a list can show them */
#define RESTING (fresh[1].rest || fresh[2].rest || intent.rest || known.rest || stray.rest)
#define SHOWN(orders) (orders.rest && orders.unseen == 0)
#define LISTED (SHOWN(fresh[1]) || SHOWN(fresh[2]) || SHOWN(intent) || SHOWN(known) || SHOWN(stray))
#else
unsigned book : 1;          /* an own order rests */
#define RESTING (book)
#define LISTED (book)
#endif

Worker worker[3];
Cleaner cleaner[3];
unsigned newest : 2;        /* who claimed last */

#define LIVE_LEASE    (lease > 0)
#define CLEANUP_MINE  (cleanup_holder == me && cleanup_lease > 0)

#ifdef LIVE
#define FAULTS (!calm)
#else
#define FAULTS true
#endif

inline down(timer) { timer = (timer > 0 -> timer - 1 : 0) }

inline drop_lease() { holder = NOBODY; lease = 0; fence_base = 0 }

inline drop_cleanup_lease() { cleanup_holder = NOBODY; cleanup_lease = 0 }

inline forget_request(i) {
  flying[i].left = 0; flying[i].told = 0; flying[i].waiter = 0;
#ifdef CLOSE
  flying[i].ioc = 0;
#endif
}

/* Called where the gate of the current run closes. */
inline gate_closes() {
  if :: worker[1].at != IDLE && worker[1].of_run == CURRENT -> worker[1].of_run = ASKED :: else fi;
  if :: worker[2].at != IDLE && worker[2].of_run == CURRENT -> worker[2].of_run = ASKED :: else fi;
  phase = STOPPING;
#ifdef LIVE
  look_at = 0; woken = 0; again = 0; m_iterate = 0; m_wake = 0;
#endif
}

#ifdef LAG
inline add_orders(to, from) {
  if
  :: from.rest -> to.rest = 1; to.unseen = (from.unseen > to.unseen -> from.unseen : to.unseen); from.rest = 0; from.unseen = 0
  :: else
  fi
}

inline cancel_orders(which) { which.rest = 0; which.unseen = 0 }

inline cancel_shown(which) { if :: SHOWN(which) -> which.rest = 0 :: else fi }
#endif

inline worker_idle() {
#ifdef LAG
  add_orders(intent, fresh[me]);
#endif
  worker[me].at = IDLE; worker[me].left = 0; worker[me].of_run = CURRENT; worker[me].unsure = 0;
#ifdef LIVE
  worker[me].wake = 0;
#endif
  if :: newest == me -> newest = NOBODY :: else fi
}

inline cleaner_idle() {
  cleaner[me].at = IDLE; cleaner[me].empties = 0;
#ifdef CLOSE
  cleaner[me].left = 0; cleaner[me].told = 0; cleaner[me].second = 0; cleaner[me].unsure = 0;
#endif
#ifdef FLAKY
  cleaner[me].hid = 0;
#endif
#ifdef LIVE
  cleaner[me].polled = 0;
#endif
}

inline forget_waiter(who) {
  if :: flying[0].waiter == who -> flying[0].waiter = 0 :: else fi;
  if :: flying[1].waiter == who -> flying[1].waiter = 0 :: else fi
}

#define HAS_FLYING(who) (flying[0].waiter == who || flying[1].waiter == who)
#if REQUESTS == 0
#define FREE_SLOT false
#elif REQUESTS == 1
#define FREE_SLOT (flying[0].left == 0)
#else
#define FREE_SLOT (flying[0].left == 0 || flying[1].left == 0)
#endif

inline send(good_for, was_told, who, is_ioc) {
  if
  :: flying[0].left == 0 -> slot = 0
  :: else -> slot = 1
  fi;
  flying[slot].left = good_for; flying[slot].told = was_told; flying[slot].waiter = who;
#ifdef CLOSE
  flying[slot].ioc = is_ioc;
#endif
  slot = 0
}

/* claim.lua: `kind` 0 is the message of the current tick, 1 a wake-up, 2 a stale tick, 3 a message of an old run. */
inline claim(kind) {
  REQUIRE(2, lease == 0);
  REQUIRE(4, kind < 2);
  holder = me; lease = LEASE; fence_base = fence; newest = me;
  worker[me].at = RUN; worker[me].of_run = CURRENT;
#ifdef LIVE
  worker[me].wake = (kind == 1 -> 1 : 0);
  woken = 0; again = 0;
  if :: kind == 0 -> m_iterate = 0 :: else -> m_wake = 0 fi;
  look_at = (BROKEN == nosweepclaim -> NEVER : LEASE + GRACE)
#endif
}

#ifdef LIVE
#define TICK_COMES (due == 0 && (FAULTS || m_iterate))
#define WAKE_COMES ((woken || again) && (FAULTS || m_wake))
#else
#define TICK_COMES true
#endif
#define MAY_CLAIM (worker[me].at == IDLE && phase == RUNNING && (me == 1 || worker[1].at != IDLE))
#define LEASE_IS_FREE (lease == 0 || BROKEN == nolease)

#define MAY_COMMIT (holder == me || BROKEN == anycommit)

/* commit.lua */
inline commit() {
  REQUIRE(2, newest == me);
  if
  :: (!worker[me].unsure || BROKEN == unresolved) && (LIVE_LEASE || BROKEN == latecommit || BROKEN == lateboth) ->
     fence = (BROKEN == resetfence -> 0 : fence_base)
  :: else
  fi;
  drop_lease();
#ifdef LAG
  if
  :: !worker[me].unsure && BROKEN != noids -> add_orders(known, fresh[me])
  :: !worker[me].unsure && BROKEN == noids -> add_orders(stray, fresh[me])
  :: else
  fi;
#endif
#ifdef LIVE
  if
  :: phase == RUNNING ->
     if
     :: !worker[me].wake -> due = INTERVAL; m_iterate = calm; look_at = due + GRACE
     :: worker[me].wake && due == 0 -> m_iterate = calm; look_at = GRACE
     :: else -> look_at = due + GRACE
     fi;
     if
     :: again && (due > 0) -> woken = 1; m_wake = calm; look_at = (look_at > 1 -> 1 : look_at)
     :: else
     fi
  :: else
  fi;
  again = 0;
#endif
}

proctype Iterations(byte me) {
  byte slot;
  do
  :: d_step { MAY_CLAIM && TICK_COMES && LEASE_IS_FREE ->
       printf("worker %d|claims the lease and begins an iteration\n", me); claim(0) }
#ifdef LIVE
  :: d_step { MAY_CLAIM && WAKE_COMES && LEASE_IS_FREE ->
       printf("worker %d|claims the lease for a wake-up\n", me); claim(1) }
  :: d_step { MAY_CLAIM && !again && TICK_COMES && LIVE_LEASE ->
       printf("worker %d|meets a live lease: another iteration is asked for\n", me); again = 1; m_iterate = 0 }
  :: d_step { MAY_CLAIM && !again && WAKE_COMES && LIVE_LEASE ->
       printf("worker %d|meets a live lease: another iteration is asked for\n", me); again = 1; m_wake = 0 }
#endif
  :: d_step { MAY_CLAIM && BROKEN == notick && LEASE_IS_FREE ->
       printf("worker %d|claims with a doubled message of an earlier tick\n", me); claim(2) }
  :: d_step { MAY_CLAIM && BROKEN == noepoch && LEASE_IS_FREE ->
       printf("worker %d|claims with a late message of an earlier run\n", me); claim(3) }

  /* authorize.lua */
  :: d_step { worker[me].at == RUN && FREE_SLOT && (FAULTS || fence < FENCE) &&
       (phase == RUNNING || BROKEN == nophase || BROKEN == nogate) &&
       (holder == me || BROKEN == notoken) &&
       (LIVE_LEASE || BROKEN == noexpiry) ->
       printf("worker %d|is authorised to place an order; its signature is good for %d ticks\n", me, FENCE);
       REQUIRE(2, newest == me && (LIVE_LEASE || BROKEN == notoken));
       REQUIRE(6, worker[me].of_run == CURRENT);
       if :: BROKEN == nofence :: else -> fence = FENCE fi;
       worker[me].left = FENCE; worker[me].at = UNSENT }

  :: d_step { worker[me].at == UNSENT && (worker[me].left > 0 || BROKEN == latesign) && FREE_SLOT ->
       printf("worker %d|sends the request\n", me);
       send((BROKEN == latesign -> FENCE : worker[me].left), (worker[me].of_run == TOLD -> 1 : 0), me, 0);
       worker[me].left = 0; worker[me].at = AWAIT }
  :: d_step { worker[me].at == UNSENT && worker[me].left == 0 && BROKEN != latesign ->
       printf("worker %d|sends the request, which the exchange refuses as expired\n", me);
       worker[me].at = RUN }

  :: d_step { worker[me].at == AWAIT && !HAS_FLYING(me) ->
       printf("worker %d|gets the answer\n", me); worker[me].at = RUN }
  :: d_step { worker[me].at == AWAIT && FAULTS ->
       printf("worker %d|gives up waiting: the request's fate is unknown\n", me);
       forget_waiter(me); worker[me].unsure = 1; worker[me].at = RUN }

  :: d_step { worker[me].at == RUN && MAY_COMMIT ->
       printf("worker %d|commits and releases the lease\n", me); commit(); worker_idle() }
  :: d_step { worker[me].at == RUN && MAY_COMMIT && phase == RUNNING && FAULTS ->
       printf("worker %d|commits; its strategy stops the run\n", me); commit(); gate_closes(); worker_idle() }
  :: d_step { worker[me].at == RUN && holder != me && BROKEN != anycommit ->
       printf("worker %d|finds its lease taken over and ends\n", me); worker_idle() }

  :: d_step { worker[me].at != IDLE && FAULTS ->
       printf("worker %d|is killed\n", me);
       forget_waiter(me);
       if
       :: holder == me && LIVE_LEASE -> holder = DEAD
       :: holder == me && !LIVE_LEASE -> drop_lease()
       :: else
       fi;
       worker_idle() }
  od
}

inline renewed() {
  cleanup_lease = CLEASE;
#ifdef LIVE
  look_at = CLEASE + GRACE
#endif
}

inline waits() {
#ifdef LIVE
  cleaner[me].polled = 1
#else
  skip
#endif
}

#ifdef LIVE
#define MAY_POLL (!cleaner[me].polled)
#define CLEANUP_COMES (FAULTS || m_cleanup)
#else
#define MAY_POLL true
#define CLEANUP_COMES true
#endif

/* finish.lua, not clean */
inline finish_unclean() {
#ifdef CLOSE
  forget_waiter(me + 2);
#endif
  drop_cleanup_lease();
#ifdef LIVE
  look_at = (BROKEN == noretry -> NEVER : RESEND)
#endif
}

inline finish_clean() {
  REQUIRE(1, !RESTING);
  phase = STOPPED;
  drop_lease(); drop_cleanup_lease();
#ifdef LIVE
  look_at = NEVER; woken = 0; again = 0; m_iterate = 0; m_wake = 0; m_cleanup = 0;
#endif
  if :: worker[1].at != IDLE -> worker[1].of_run = TOLD :: else fi;
  if :: worker[2].at != IDLE -> worker[2].of_run = TOLD :: else fi;
  if :: flying[0].left > 0 -> flying[0].told = 1 :: else fi;
  if :: flying[1].left > 0 -> flying[1].told = 1 :: else fi;
#ifdef CLOSE
  if :: cleaner[1].at != IDLE -> cleaner[1].told = 1 :: else fi;
  if :: cleaner[2].at != IDLE -> cleaner[2].told = 1 :: else fi;
#endif
}

inline cancel_all_known() {
#ifdef LAG
  cancel_orders(known)
#else
  skip
#endif
}

inline hides(yes) {
#ifdef FLAKY
  cleaner[me].hid = yes
#else
  skip
#endif
}

inline list_is_empty() {
  cleaner[me].empties++;
  if
  :: cleaner[me].empties == 2 || BROKEN == onelist ->
     cleaner[me].empties = 0; hides(0);
#ifdef CLOSE
     cleaner[me].at = (cleaner[me].second -> C_FINISH : C_CLOSE)
#else
     cleaner[me].at = C_FINISH
#endif
  :: else
  fi
}

inline cancel_listed() {
#ifdef LAG
  cancel_shown(fresh[1]); cancel_shown(fresh[2]); cancel_shown(intent); cancel_shown(known); cancel_shown(stray)
#else
  book = 0
#endif
}

/* runner/cleanup.py */
proctype Cleanups(byte me) {
  byte slot;
  do
  /* claim_cleanup.lua */
  :: d_step { cleaner[me].at == IDLE && CLEANUP_COMES && (phase == STOPPING || phase == FAILED) && cleanup_lease == 0 &&
       (me == 1 || cleaner[1].at != IDLE) ->
       printf("cleanup %d|claims the cleanup lease\n", me);
       cleanup_holder = me; renewed();
       cleaner[me].at = C_LEASE;
#ifdef CLOSE
       cleanup_fence_base = NO_BASE;
#endif
#ifdef LIVE
       m_cleanup = 0;
#endif
       cancel_all_known() }

  /* renew_cleanup.lua, by whoever finds its lease over */
  :: d_step { cleaner[me].at >= C_LEASE && cleaner[me].at != C_FINISH && !CLEANUP_MINE ->
       printf("cleanup %d|finds its lease over and ends\n", me);
       if :: cleanup_holder == me -> drop_cleanup_lease() :: else fi;
       cleaner_idle() }

  :: d_step { cleaner[me].at == C_LEASE && CLEANUP_MINE && MAY_POLL ->
       renewed();
       if
       :: LIVE_LEASE && BROKEN != nogate && BROKEN != nowait ->
          printf("cleanup %d|waits for the iteration in flight\n", me); waits()
       :: else ->
          printf("cleanup %d|finds no iteration in flight\n", me);
          if :: !LIVE_LEASE && BROKEN != nodrain && BROKEN != lateboth -> drop_lease() :: else fi;
          cleaner[me].at = C_FENCE; cancel_all_known()
       fi }

  :: d_step { cleaner[me].at == C_FENCE && CLEANUP_MINE && MAY_POLL ->
       renewed();
#ifdef CLOSE
       if
       :: cleaner[me].second && !cleaner[me].unsure && cleanup_fence_base != NO_BASE ->
          printf("cleanup %d|all its own orders were answered: the fence goes back\n", me);
          fence = cleanup_fence_base; cleanup_fence_base = NO_BASE
       :: else
       fi;
#endif
       if
       :: fence > 0 && BROKEN != skipfence ->
          printf("cleanup %d|waits for the fence: %d ticks left\n", me, fence); waits()
       :: else ->
          printf("cleanup %d|the fence is past\n", me);
#ifdef LAG
          cleaner[me].at = C_ASK
#else
          cleaner[me].at = C_LIST
#endif
       fi }

#ifdef LAG
  :: d_step { cleaner[me].at == C_ASK && CLEANUP_MINE ->
       renewed();
       if
       :: BROKEN != noask -> printf("cleanup %d|asks by client order id, and cancels what it finds\n", me);
          cancel_orders(intent); cancel_orders(fresh[1]); cancel_orders(fresh[2])
       :: else
       fi;
       cleaner[me].at = C_LIST }
#endif

#define LISTS (cleaner[me].at == C_LIST && CLEANUP_MINE)
  :: d_step { LISTS && FAULTS && BROKEN != listfails ->
       printf("cleanup %d|gets no answer to its list\n", me); renewed() }
  :: d_step { LISTS && FAULTS && BROKEN == listfails ->
       printf("cleanup %d|gets no answer to its list and takes it for empty\n", me); renewed(); list_is_empty() }
  :: d_step { LISTS && !LISTED ->
       printf("cleanup %d|reads a list without own orders\n", me); hides(0); renewed(); list_is_empty() }
  :: d_step { LISTS && LISTED ->
       printf("cleanup %d|reads a list with own orders and cancels them\n", me);
       hides(0); renewed(); cleaner[me].empties = 0; cancel_listed() }
  :: d_step { LISTS && LISTED && FAULTS ->
       printf("cleanup %d|reads a list with own orders; cancels are not confirmed\n", me);
       hides(0); renewed(); cleaner[me].empties = 0 }
#ifdef FLAKY
  :: d_step { LISTS && LISTED && !cleaner[me].hid && FAULTS ->
       printf("cleanup %d|reads a list that leaves out what rests\n", me); hides(1); renewed(); list_is_empty() }
#endif

#ifdef CLOSE
  /* authorize_cleanup.lua */
  :: d_step { cleaner[me].at == C_CLOSE && FREE_SLOT && CLEANUP_MINE && (phase == STOPPING || phase == FAILED) &&
       !(LIVE_LEASE && holder != NOBODY) && !cleaner[me].unsure ->
       printf("cleanup %d|is authorised to send an order that closes the position\n", me);
       if :: cleanup_fence_base == NO_BASE -> cleanup_fence_base = fence :: else fi;
       fence = FENCE;
       cleaner[me].left = FENCE; cleaner[me].at = UNSENT }
  :: d_step { cleaner[me].at == UNSENT && cleaner[me].left > 0 && FREE_SLOT ->
       printf("cleanup %d|sends that order\n", me);
       send(cleaner[me].left, cleaner[me].told, me + 2, 1); cleaner[me].left = 0; cleaner[me].at = AWAIT }
  :: d_step { cleaner[me].at == UNSENT && cleaner[me].left == 0 -> cleaner[me].at = C_CLOSE }
  :: d_step { cleaner[me].at == AWAIT && !HAS_FLYING(me + 2) ->
       printf("cleanup %d|gets the answer\n", me); cleaner[me].at = C_CLOSE }
  :: d_step { cleaner[me].at == AWAIT ->
       printf("cleanup %d|gives up waiting: the order's fate is unknown\n", me);
       forget_waiter(me + 2); cleaner[me].unsure = 1; cleaner[me].at = C_CLOSE }
  :: d_step { cleaner[me].at == C_CLOSE ->
       printf("cleanup %d|is done with the position\n", me); cleaner[me].second = 1; cleaner[me].at = C_FENCE }
#endif

  /* finish.lua */
  :: d_step { cleaner[me].at == C_FINISH ->
       if
       :: !CLEANUP_MINE && BROKEN != anyfinish ->
          printf("cleanup %d|finds its lease over and ends\n", me);
          if :: cleanup_holder == me -> drop_cleanup_lease() :: else fi
       :: (CLEANUP_MINE || BROKEN == anyfinish) && (LIVE_LEASE || fence > 0) &&
            BROKEN != finishearly && BROKEN != skipfence && BROKEN != nogate ->
          printf("cleanup %d|wants to call it clean, too early\n", me); cleanup_holder = DEAD
       :: else ->
          printf("cleanup %d|calls the run stopped, clean\n", me); finish_clean()
       fi;
       cleaner_idle() }
  :: d_step { cleaner[me].at != IDLE && FAULTS && CLEANUP_MINE ->
       printf("cleanup %d|gives up this attempt: not clean\n", me); finish_unclean(); cleaner_idle() }
  :: d_step { cleaner[me].at != IDLE && FAULTS && CLEANUP_MINE && phase == STOPPING ->
       printf("cleanup %d|gives up its last attempt before the instance is called failed\n", me);
       phase = FAILED; finish_unclean(); cleaner_idle() }

  :: d_step { cleaner[me].at != IDLE && FAULTS ->
       printf("cleanup %d|is killed\n", me);
#ifdef CLOSE
       forget_waiter(me + 2);
#endif
       if
       :: cleanup_holder == me && cleanup_lease > 0 -> cleanup_holder = DEAD
       :: cleanup_holder == me && cleanup_lease == 0 -> drop_cleanup_lease()
       :: else
       fi;
       cleaner_idle() }
  od
}

inline accepts(i) {
  REQUIRE(1, !flying[i].told);
#ifdef CLOSE
  if :: !flying[i].ioc -> book = 1 :: else fi
#else
#ifdef LAG
  if
  :: flying[i].waiter != NOBODY -> fresh[flying[i].waiter].rest = 1; fresh[flying[i].waiter].unseen = UNSEEN
  :: else -> intent.rest = 1; intent.unseen = UNSEEN
  fi
#else
  book = 1
#endif
#endif
}

active proctype Exchange() {
  do
  :: d_step { flying[0].left > 0 -> printf("exchange|accepts the order\n"); accepts(0); forget_request(0) }
  :: d_step { flying[1].left > 0 -> printf("exchange|accepts the order\n"); accepts(1); forget_request(1) }
  :: d_step { flying[0].left > 0 -> printf("exchange|refuses the order\n"); forget_request(0) }
  :: d_step { flying[1].left > 0 -> printf("exchange|refuses the order\n"); forget_request(1) }
  od
}

#ifdef LIVE
#define NOTHING_TO_DO (worker[1].at == IDLE && worker[2].at == IDLE && \
  (cleaner[1].at == IDLE || cleaner[1].polled) && (cleaner[2].at == IDLE || cleaner[2].polled) && \
  !m_cleanup && !m_wake && !(m_iterate && due == 0) && look_at != 0)
#define MAY_TICK (FAULTS || NOTHING_TO_DO)
#else
#define MAY_TICK true
#endif

inline time_of_request(i) {
  if
  :: flying[i].left > 1 -> flying[i].left = flying[i].left - 1
  :: flying[i].left == 1 -> forget_request(i)
  :: else
  fi
}

active proctype Clock() {
  do
  :: d_step { MAY_TICK ->
       printf("clock|tick\n");
       down(lease); down(fence); down(fence_base); down(cleanup_lease);
       if :: lease == 0 && holder == DEAD -> drop_lease() :: else fi;
       if :: cleanup_lease == 0 && cleanup_holder == DEAD -> drop_cleanup_lease() :: else fi;
       down(worker[1].left); down(worker[2].left);
       time_of_request(0); time_of_request(1);
#ifdef CLOSE
       down(cleaner[1].left); down(cleaner[2].left);
       if :: cleanup_fence_base != NO_BASE -> down(cleanup_fence_base) :: else fi;
#endif
#ifdef LAG
       down(fresh[1].unseen); down(fresh[2].unseen); down(intent.unseen); down(known.unseen); down(stray.unseen);
#endif
#ifdef LIVE
#ifndef RARE
       down(due);
#endif
       if :: look_at != NEVER -> down(look_at) :: else fi;
       cleaner[1].polled = 0; cleaner[2].polled = 0;
#endif
     }
  od
}

active proctype User() {
  do
  /* start.lua */
  :: d_step { phase == STOPPED || (phase == FAILED && cleanup_lease == 0 && FAULTS) ->
       if
       :: phase == FAILED -> printf("user|starts a new run by force\n")
       :: else -> printf("user|starts a run\n")
       fi;
#ifdef LAG
       if
       :: BROKEN == forgetintents -> add_orders(stray, intent)
       :: else
       fi;
#endif
       phase = RUNNING; drop_lease(); drop_cleanup_lease();
       if :: BROKEN == startfence -> fence = 0 :: else fi;
#ifdef LIVE
       due = 0; look_at = 0; woken = 0; again = 0
#endif
     }
  /* request_stop.lua */
  :: d_step { phase == RUNNING -> printf("user|asks for a stop\n"); gate_closes() }
  :: d_step { (phase == STOPPING || phase == FAILED) && cleanup_holder != NOBODY && FAULTS ->
       printf("user|asks the stop for more: the cleanup under way loses its lease\n");
       drop_cleanup_lease();
#ifdef LIVE
       look_at = 0
#endif
     }
  od
}

#ifdef LIVE
active proctype Sweep() {
  do
  /* sweep.lua */
  :: d_step { look_at == 0 ->
       if
       :: phase == RUNNING && BROKEN != forgetruns ->
          if
          :: LIVE_LEASE -> look_at = lease + GRACE
          :: !LIVE_LEASE && due > 0 && (woken || again) && BROKEN != forgetwakes ->
             printf("sweep|publishes the wake-up\n"); m_wake = calm; look_at = RESEND
          :: !LIVE_LEASE && due > 0 && !((woken || again) && BROKEN != forgetwakes) -> look_at = due + GRACE
          :: else -> printf("sweep|publishes the overdue iteration\n"); m_iterate = calm; look_at = RESEND
          fi
       :: (phase == STOPPING || phase == FAILED) && BROKEN != forgetstops ->
          if
          :: cleanup_lease > 0 -> look_at = cleanup_lease + GRACE
          :: else -> printf("sweep|publishes the cleanup\n"); m_cleanup = calm; look_at = RESEND
          fi
       :: else -> look_at = NEVER
       fi }
  od
}

active proctype Feed() {
  do
  /* wake.lua */
  :: d_step { phase == RUNNING && FAULTS && !(LIVE_LEASE && again) && !(!LIVE_LEASE && woken) ->
       printf("feed|sees a fill and asks for an iteration\n");
       if
       :: LIVE_LEASE -> again = 1
       :: else -> woken = 1; look_at = 0
       fi }
  od
}

active proctype Faults() {
  d_step { calm = 1; printf("faults|end: nothing is lost, nobody dies, no step takes longer than a tick\n") }
}

#define ALIVE ((holder == 1 || holder == 2) && lease > 0)

ltl stop_ends { [] ((calm && (phase == STOPPING || phase == FAILED)) -> <> (phase == STOPPED)) }
ltl runs_again { [] ((calm && phase == RUNNING && !ALIVE) -> <> (ALIVE || phase != RUNNING)) }
ltl wake_answered { [] ((calm && phase == RUNNING && (woken || again)) -> <> (!(woken || again) || phase != RUNNING)) }
#endif

init {
  atomic {
    run Iterations(1); run Cleanups(1);
#if WORKERS == 2
    run Iterations(2);
#endif
#if CLEANERS == 2
    run Cleanups(2)
#endif
  }
}
