/* A cleanup: claim, wait, list, finish (runner/cleanup.py, runner/own_orders.py). Part of lifecycle.pml. */

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
#ifdef CRASH
  disk.told = 1;
#endif
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
  :: d_step { cleaner[me].at == IDLE && CLEANUP_COMES && (phase == STOPPING || phase == FAILED) && (cleanup_lease == 0 || !SAME_SERVER) &&
       (me == 1 || cleaner[1].at != IDLE) ->
       printf("cleanup %d|claims the cleanup lease\n", me);
       if :: !SAME_SERVER -> drop_lease() :: else fi;
       restore(); cleanup_holder = me; renewed();
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
  :: d_step { cleaner[me].at == C_FINISH && (SAVED || BROKEN == nodisk || !CLEANUP_MINE) ->
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
