/* An iteration: claim, authorize, send, commit (runner/iteration.py, runner/execution.py). Part of lifecycle.pml. */

/* claim.lua: `kind` 0 is the message of the current tick, 1 a wake-up, 2 a stale tick, 3 a message of an old run. */
inline claim(kind) {
  REQUIRE(2, lease == 0);
  REQUIRE(4, kind < 2);
  restore(); holder = me; lease = LEASE; fence_base = fence; newest = me;
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
       (LIVE_LEASE || BROKEN == noexpiry) &&
       (SAME_SERVER || BROKEN == samegate) && (SAVED || BROKEN == startnodisk) ->
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
